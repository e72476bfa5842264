"""What a model is trained for: its loss, what its targets are, and how its answers are judged."""
