"""How each layer is stored, and what that costs."""
