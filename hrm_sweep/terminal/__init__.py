"""What the user sees in the terminal: the live view, tables, hints for the next command."""
