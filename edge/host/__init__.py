"""What this machine is, what it grants a process, and what a process takes of it."""
