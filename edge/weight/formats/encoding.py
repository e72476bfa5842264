"""The registry of formats, and what can be asked of a parameter without knowing its format."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from edge.weight.formats.block import Block
from edge.weight.formats.channel import Channel
from edge.weight.formats.csr import Csr
from edge.weight.formats.dense import Dense
from edge.weight.formats.format import Format, FormatError
from edge.weight.formats.masked import Masked
from edge.weight.formats.pattern import Pattern
from edge.weight.parameter import SCHEMES, Parameter

# In the order in which ties are resolved: the plainest first.
FORMATS: MappingProxyType[str, Format] = MappingProxyType(
    {form.name: form for form in (Dense(), Channel(), Block(), Pattern(), Csr(), Masked())}
)


def find_format(name: str) -> Format:
    """The format of that name; raises FormatError with the names there are."""
    if name not in FORMATS:
        raise FormatError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    return FORMATS[name]


def encode_parameter(
    name: str,
    weight: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    scheme: str | None = None,
    height: int | None = None,
    target_sparsity: float | None = None,
    format: str = "auto",
    trainable: bool = True,
    groups: int = 1,
) -> Parameter:
    """A weight or vector as a parameter, bit for bit; `auto` takes the format with the fewest bytes.

    `weight`: float32 in its dense shape, zero outside `mask` (bool, True is kept; None keeps all). Raises FormatError.
    """
    mask = np.ones(weight.shape, bool) if mask is None else mask
    if mask.shape != weight.shape or mask.dtype != bool:
        raise FormatError(f"{name}: a mask of {mask.dtype} {list(mask.shape)} does not fit {list(weight.shape)}")
    if weight.dtype != np.float32:
        raise FormatError(f"{name}: weights are {weight.dtype}; formats hold float32")
    if np.any(weight[~mask]):
        raise FormatError(f"{name}: weights outside the mask are not zero; apply the mask first")
    if format == "auto":
        format = choose_format(mask, scheme, height, groups)
    form = find_format(format)
    refusal = form.refusal(mask, scheme, height, groups)
    if refusal:
        raise FormatError(f"{name}: format {format} cannot hold this layer: {refusal}; use format auto")
    encoded = form.encode(weight, mask, height)
    return Parameter(
        name=name,
        shape=weight.shape,
        tensors={part: np.ascontiguousarray(tensor) for part, tensor in encoded.tensors.items()},
        format=format,
        trainable=trainable,
        scheme=scheme,
        height=height if scheme == "block" else None,
        target_sparsity=target_sparsity,
        coding=encoded.coding,
    )


def choose_format(mask: np.ndarray, scheme: str | None, height: int | None = None, groups: int = 1) -> str:
    """Name of the format with the fewest bytes, of those that can hold the mask and mutate it within its scheme."""
    able = [name for name, form in FORMATS.items() if form.refusal(mask, scheme, height, groups) is None]
    if not able:
        raise FormatError("a mask with zeros needs a scheme")
    return min(able, key=lambda name: FORMATS[name].encoded_bytes(mask, height))


def encoded_bytes(mask: np.ndarray, format: str, height: int | None = None) -> int:
    """Bytes that a weight with this mask will take in a format, counted from the definition before encoding."""
    return find_format(format).encoded_bytes(mask, height)


def decode(parameter: Parameter) -> np.ndarray:
    """The dense weight in its shape, zero where nothing is kept."""
    return find_format(parameter.format).decode(parameter)


def positions(parameter: Parameter) -> np.ndarray:
    """Flat dense index, int32, of each kept weight, in the order in which compressed formats store the values."""
    return find_format(parameter.format).positions(parameter)


def kept_mask(parameter: Parameter) -> np.ndarray:
    """The mask in the dense shape, bool: True is kept."""
    mask = np.zeros(parameter.size, bool)
    mask[positions(parameter)] = True
    return mask.reshape(parameter.shape)


def check_parameter(parameter: Parameter) -> None:
    """Raise FormatError unless the arrays are what the format defines and the scheme is one that it can hold."""
    scheme, height = parameter.scheme, parameter.height
    form = find_format(parameter.format)
    if scheme is not None and scheme not in SCHEMES:
        raise FormatError(f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}")
    if (scheme == "block") != (height is not None):
        raise FormatError("a height belongs to the scheme block, and only to it")
    if scheme is None and (parameter.format != "dense" or parameter.target_sparsity is not None):
        raise FormatError(f"format {parameter.format} and a target sparsity need a scheme")
    if form.name in SCHEMES and form.name != scheme:
        raise FormatError(f"format {form.name} is for the scheme of that name, not {scheme}")
    if parameter.coding is not None and form.name != "csr":
        raise FormatError(f"a coding belongs to the format csr, not {form.name}")
    form.check(parameter)
    unknown = parameter.tensors.keys() - form.tensors
    if unknown:
        raise FormatError(f"format {form.name} has no tensor {min(unknown)!r}")
