"""Long runs of language models: checkpoints, metrics and samples on disk."""
