"""What goes out to the hub: the files, the card, and when."""
