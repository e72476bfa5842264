"""Which parameters are trained: `all`, `last:N`, `bias` or a regular expression over parameter names."""

from __future__ import annotations

import re

from edge.errors import InputError
from edge.network.network import Network, batch_norms_of
from edge.network.operators import BatchNorm, Foreign

ALLOWED = "all, last:N, bias, or a regular expression that matches whole parameter names"


def select_trainable(network: Network, spec: str) -> set[str]:
    """Names of the parameters to train, of those that were exported as trainable; raises InputError if none is meant.

    `last:N`: the last N convolution and linear layers with their biases and the batch norms that read them.
    `bias`: biases of layers, scales and shifts of norms.
    """
    able = {name for name, parameter in network.parameters.items() if parameter.trainable}
    if spec == "all":
        chosen = able
    elif spec == "bias":
        chosen = _bias(network) & able
    elif spec.startswith("last:"):
        chosen = _last(network, spec) & able
    else:
        try:
            pattern = re.compile(spec)
        except re.error as error:
            raise InputError(f"trainable {spec!r}: not a regular expression ({error}); give {ALLOWED}") from None
        chosen = {name for name in able if pattern.fullmatch(name)}
    if not chosen:
        some = ", ".join(sorted(able)[:6]) or "none: the artifact was exported with everything frozen"
        raise InputError(f"trainable {spec!r}: selects no parameter; give {ALLOWED}; trainable here: {some}")
    return chosen


def _bias(network: Network) -> set[str]:
    roles = ("bias", "scale", "shift")
    named = {name for op in network.operators for role, name in op.parameters().items() if role in roles}
    return named | {name for op in network.foreign() for name in op.reads if len(network.parameters[name].shape) == 1}


def _last(network: Network, spec: str) -> set[str]:
    layers = network.layers()
    digits = spec.removeprefix("last:")
    count = int(digits) if re.fullmatch(r"[0-9]{1,6}", digits) else 0
    if not 1 <= count <= len(layers):
        raise InputError(f"trainable {spec!r}: N must be 1 to {len(layers)}, the layers of this network")
    chosen: set[str] = set()
    readers = network.consumers()
    for layer in layers[-count:]:
        # The bias of a foreign layer is added by an operator of its own; what else reads a layer may be a norm.
        chosen.update(name for op in readers[layer.name] if isinstance(op, Foreign) for name in op.reads)
        for operator in (layer, *batch_norms_of(network, layer)):
            names = operator.parameters()
            if isinstance(operator, BatchNorm):
                names = {"scale": operator.scale, "shift": operator.shift}
            chosen.update(names.values())
    return chosen
