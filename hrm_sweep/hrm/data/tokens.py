"""Tokens and labels with a meaning in every task. PyTorch is not imported."""

IGNORE = -100
"""Label of a position that is not scored: it counts in no loss and no metric."""
PAD = 0
"""Token of positions outside the puzzle."""
FIRST_COLOUR = 2
"""The token of colour (or digit) number 0; 0 is PAD, 1 is EOS or an empty cell."""
