"""What the native engine does with each operator: one file a family, one line each in the registry."""
