"""Studies and measurements on language models; they need the extra `lm`."""
