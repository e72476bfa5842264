"""From the workstation onto boards and back: bundles, and their deployment over the system's OpenSSH."""
