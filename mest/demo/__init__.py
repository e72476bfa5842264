"""The whole road on the packaged digits: train sparse, export, fine-tune on what a new sensor sees, compare."""
