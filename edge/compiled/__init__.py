"""Plans taken along by a process without Python: compiled, given data, and brought home again."""
