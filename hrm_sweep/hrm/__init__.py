"""The app that ships with the engine: trains the Hierarchical Reasoning Model on a CPU."""
