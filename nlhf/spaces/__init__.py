"""Strategy spaces: the geometry that proximal steps live in."""
