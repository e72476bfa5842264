"""What onnxruntime-training gets in the place of operators whose gradient it lacks or has otherwise than PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from export.ort.activations import spell_out_activations
from export.ort.average_pool import convolve_instead_of_pool
from export.ort.conv_transpose import convolve_instead_of_transposing
from export.ort.frozen_norm import spell_out_frozen_norms
from export.ort.instance_norm import spell_out_instance_norm
from export.ort.layer_norm import shift_layer_norms
from export.ort.relu6 import split_relu6
from export.ort.resampling import multiply_instead_of_resample
from export.ort.window_pools import pool_windows_as_images

# Each edits a graph in place, with equal values, and returns how many places it changed.
REWRITES: tuple[Callable[[onnx.ModelProto], int], ...] = (
    spell_out_frozen_norms,
    spell_out_instance_norm,
    shift_layer_norms,
    split_relu6,
    spell_out_activations,
    multiply_instead_of_resample,
    convolve_instead_of_transposing,
    pool_windows_as_images,
    convolve_instead_of_pool,
)
