"""A run becomes an artifact: capture, compression, training graphs, native network, verification."""
