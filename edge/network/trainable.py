"""Which parameters are trained: `all`, `last:N`, `bias` or a regular expression over parameter names."""

from __future__ import annotations

import re

from edge.errors import InputError
from edge.network.network import Network

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
    return {name for operator in network.operators for name in operator.biases(network.parameters)}


def _last(network: Network, spec: str) -> set[str]:
    layers = network.layers()
    digits = spec.removeprefix("last:")
    count = int(digits) if re.fullmatch(r"[0-9]{1,6}", digits) else 0
    if not 1 <= count <= len(layers):
        raise InputError(f"trainable {spec!r}: N must be 1 to {len(layers)}, the layers of this network")
    chosen: set[str] = set()
    readers = network.consumers()
    for layer in layers[-count:]:
        chosen.update(layer.parameters().values())
        chosen.update(name for reader in readers[layer.name] for name in reader.trained_with_layer())
    return chosen
