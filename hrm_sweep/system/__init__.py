"""Files, locks, processes and the machine: knows nothing of studies, runs or frameworks."""
