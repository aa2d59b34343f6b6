"""Time, accuracy and memory of the solvers, side by side with those of other packages."""
