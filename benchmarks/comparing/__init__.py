"""What got slower from one run to another."""
