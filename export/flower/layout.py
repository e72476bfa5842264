"""What of a network travels, in which order, and its weights as they do: values of what is kept, masks apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edge.errors import InputError
from edge.handover.artifact import Artifact
from edge.network import Network
from edge.weight.formats import encode_parameter, kept_mask
from edge.weight.formats.encoding import decode
from edge.weight.parameter import Parameter
from export.flower.units import units_of

ENGINE = "native"


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a network by parameter, float32 `(kept,)` in the dense row-major order.

    `masks` has those of sparse parameters, bool `(size,)`, True is kept.
    """

    values: Mapping[str, np.ndarray] = field(repr=False)
    masks: Mapping[str, np.ndarray] = field(repr=False)

    def with_values(self, values: Mapping[str, np.ndarray]) -> Weights:
        """The same masks with other values."""
        return replace(self, values=dict(values))


@dataclass(frozen=True, eq=False)
class Layout:
    """The parameters that travel, in the network's order, as the artifact holds them.

    `variances` has the name of each batch norm's running mean by the name of its running variance. Lists of channels
    and numbers of the model's code stay: every client has them in its artifact.
    """

    parameters: Mapping[str, Parameter]
    variances: Mapping[str, str]

    @property
    def sparse(self) -> dict[str, Parameter]:
        """Those whose mask travels."""
        return {name: each for name, each in self.parameters.items() if each.sparse and each.format != "dense"}

    @property
    def dense_bytes(self) -> int:
        """Bytes of all of them without any sparsity, float32."""
        return 4 * sum(parameter.size for parameter in self.parameters.values())

    def encoded(self, weights: Weights) -> dict[str, Parameter]:
        """The parameters with these weights, in the formats that the artifact has."""
        return {name: _encoded(parameter, weights) for name, parameter in self.parameters.items()}


def layout_of(network: Network) -> Layout:
    """The layout of a network; raises InputError for one with masks that are not whole units of their scheme."""
    constants = network.constants()
    parameters = {name: each for name, each in network.parameters.items() if name not in constants}
    variances: dict[str, str] = {}
    for operator in network.operators:
        roles = operator.parameters()
        if "mean" in roles and "variance" in roles:
            variances[roles["variance"]] = roles["mean"]
    layout = Layout(parameters, variances)
    for name, parameter in layout.sparse.items():
        if not units_of(parameter).fits(parameter, kept_mask(parameter).reshape(-1)):
            raise InputError(f"{name}: keeps parts of units of scheme {parameter.scheme}; export with format auto")
    return layout


def layout_of_artifact(artifact: Artifact) -> Layout:
    """The same of an artifact; raises InputError for one that the native engine cannot train."""
    if not artifact.manifest.native["available"]:
        raise InputError(
            f"{artifact.path}: rounds are trained by the native engine, which cannot run it "
            f"({artifact.manifest.native.get('reason')}); export another model"
        )
    return layout_of(artifact.network)


def weights_of(layout: Layout, parameters: Mapping[str, Parameter]) -> Weights:
    """The weights that parameters hold."""
    values, masks = {}, {}
    sparse = layout.sparse
    for name in layout.parameters:
        parameter = parameters[name]
        dense = decode(parameter).reshape(-1).astype(np.float32, copy=False)
        if name in sparse:
            masks[name] = kept_mask(parameter).reshape(-1)
            values[name] = dense[masks[name]]
        else:
            values[name] = dense.copy()
    return Weights(values, masks)


def _encoded(parameter: Parameter, weights: Weights) -> Parameter:
    values, mask = weights.values[parameter.name], weights.masks.get(parameter.name)
    if mask is None:
        return replace(parameter, tensors={**parameter.tensors, "values": values.reshape(parameter.values.shape)})
    dense = np.zeros(parameter.size, np.float32)
    dense[mask] = values
    return encode_parameter(
        parameter.name,
        dense.reshape(parameter.shape),
        mask.reshape(parameter.shape),
        scheme=parameter.scheme,
        height=parameter.height,
        target_sparsity=parameter.target_sparsity,
        format=parameter.format,
        trainable=parameter.trainable,
    )
