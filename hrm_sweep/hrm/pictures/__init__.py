"""Pictures of a run: its learning curves, and its predictions beside the ground truth."""
