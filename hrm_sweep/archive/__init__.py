"""What studies and runs have left, read back from their folders. Nothing here writes, and nothing
here needs a database: the folder is the truth."""
