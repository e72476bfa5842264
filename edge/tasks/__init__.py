"""What a network is trained for: what its targets are, how answers are judged, and how they are written."""
