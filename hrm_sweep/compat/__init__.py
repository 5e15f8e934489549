"""Private names of other packages, and nothing else: one module a package, one canary test a name.

Each module names the versions that it was read in; `pyproject.toml` bounds them from above.
"""
