"""Two implementations of a transformer block: PyTorch operators, and kernels compiled in C++."""
