"""What export knows of each ONNX operator: one module a family, one line an operator in the registry."""
