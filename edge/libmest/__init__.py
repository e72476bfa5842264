"""The C library: its sources, how they are built, and what it and Python both know of a program."""
