"""What a user asks of a board: fine-tune, evaluate, predict, profile."""
