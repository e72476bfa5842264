"""What is known of ONNX operators that have no rule, or whose rule refuses a use of them."""

from __future__ import annotations

# Those with a weight, which counts as a layer's: `--trainable last:1` means it.
LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

# Those that move numbers and compute nothing: seldom what a user should be told of first.
LAYOUT = frozenset({"Concat", "Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
