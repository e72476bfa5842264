"""How things lie on a disk, and how a stranger's file is read."""
