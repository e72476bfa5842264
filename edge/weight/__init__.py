"""One weight: how it is stored, counted and mutated."""
