"""The shapes in which weights are removed: irregular, block, pattern, channel."""
