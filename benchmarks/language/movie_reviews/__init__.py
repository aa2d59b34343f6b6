"""MaxMin, Nash and reward learning on movie-review sentences, with a language model of our own."""
