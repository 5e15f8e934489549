"""Runs and studies on disk: the record of a run, how it is written, read back and compared."""
