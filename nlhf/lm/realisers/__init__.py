"""How proximal steps are carried out on a language model."""
