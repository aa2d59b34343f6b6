"""From files and games to what a person wants to see of them."""
