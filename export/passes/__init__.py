"""Graph passes: each takes an ONNX model, edits it in place and returns how many places it changed.

Each file holds one pass; its docstring says what it requires and what it ensures. `normalise` runs those that make a
graph as PyTorch exports it (nothing optimized, evaluation mode) into the plain form that the rest of export reads.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from export.graph import remove_unused
from export.passes.cast_like import replace_cast_like
from export.passes.ceil_mode import pad_instead_of_ceil
from export.passes.constants import fold_constants
from export.passes.flatten import restore_flatten
from export.passes.gathered_resize import restore_gathered_resize
from export.passes.global_pool import restore_global_pool
from export.passes.identity import remove_identity
from export.passes.layer_norm import name_layer_norm_outputs
from export.passes.linear import restore_linear
from export.passes.names import name_by_module
from export.passes.padding import pad_in_the_window
from export.passes.relu import restore_relu
from export.passes.resize import store_resize_sizes
from export.passes.softmax_guard import drop_softmax_guard
from export.passes.split import slice_instead_of_split
from export.passes.steps import join_steps
from export.passes.strided import remove_strided
from export.passes.unit_factor import drop_unit_factor
from export.passes.unsqueeze import restore_unsqueeze
from export.passes.zero_bias import drop_zero_bias
from export.passes.zero_term import drop_zero_term

Pass = Callable[..., int]  # of a model
SPARING: tuple[Pass, ...] = (fold_constants, drop_unit_factor)  # of a model, and the parameters that they leave alone

NORMALISE: tuple[Pass, ...] = (
    replace_cast_like,
    fold_constants,
    drop_zero_bias,
    drop_zero_term,
    drop_unit_factor,
    remove_identity,
    fold_constants,  # again: what a Pad by nothing wrote has a size now, and so do the parts of a cyclic shift
    drop_softmax_guard,
    slice_instead_of_split,
    restore_relu,
    pad_in_the_window,
    join_steps,
    restore_unsqueeze,
    restore_linear,
    restore_global_pool,
    restore_flatten,
    remove_strided,
    store_resize_sizes,
    restore_gathered_resize,
    pad_instead_of_ceil,
    name_layer_norm_outputs,
)


def normalise(model: onnx.ModelProto, parameters: set[str]) -> None:
    """Bring an exported graph into plain form, in place. `parameters` are the initializers that stay as they are."""
    for run in NORMALISE:
        if run in SPARING:
            run(model, parameters)
        else:
            run(model)
        remove_unused(model.graph)
    name_by_module(model)
