"""The onnxruntime-training artifacts: sparse weights in the graph, loss, gradients, optimizer, checkpoint."""
