"""The valley of Merrowdale: a seeded generator of small stories, and of questions about the people in them."""
