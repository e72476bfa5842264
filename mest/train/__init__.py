"""Training runs: options, recipes, the loop, checkpoints and the run directory. Imports nothing by itself."""
