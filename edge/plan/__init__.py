"""What a step will hold, byte by byte, before it starts."""
