"""The directories that stages hand over: artifacts and states."""
