"""What runs a network: the native engine, onnxruntime-training, and the numpy referee."""
