"""Where trials run: a Hydra job as a run, the process pool, stock launchers in batches."""
