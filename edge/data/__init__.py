"""Samples: where they come from, how they become the network's input, and in which order they are read."""
