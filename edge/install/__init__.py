"""What installs on a board and runs there, by the standard library alone: a board has nothing but Python at first.

These modules travel to the board as one file; only `edge.errors` and `edge.files` (without its arrays) go with them.
"""
