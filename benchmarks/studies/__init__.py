"""Studies of learning and alignment on finite problems, each computed from scratch."""
