"""The surge in invented time: the real core against the model of a GPU."""
