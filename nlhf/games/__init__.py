"""Games: who plays, and what each player wants."""
