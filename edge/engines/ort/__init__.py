"""The ort engine: onnxruntime-training through its C bindings, where its wheel exists."""
