"""Implementations of a transformer block: PyTorch's operators, and a library compiled from C++."""
