"""Learning from comparisons on a language model: in rounds of asking, and from a fixed data set."""
