"""The tasks a model can learn."""
