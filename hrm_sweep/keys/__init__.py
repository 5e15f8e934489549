"""What the keys of a config mean: one source for --help, tab completion and `docs/keys.md`.

The words are the comments in the app's YAML files and the docstrings of its config classes; the
values are those of the composed config. Nothing here knows an app.
"""
