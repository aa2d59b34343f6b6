"""Ground truth: exact solvers, one program per file, with their duals."""
