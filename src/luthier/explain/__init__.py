"""What a reading says, for people: in their language and in their words."""
