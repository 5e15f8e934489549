"""The training loop: batching, losses, optimizers, evaluation, checkpoints."""
