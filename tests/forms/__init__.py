"""The same scripts on both forms of the data path, plain and compiled, and whether both did the same."""
