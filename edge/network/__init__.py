"""The native network: what export writes, engines run and reports describe. See docs/network-format.md."""

from edge.network.checking import check_network
from edge.network.network import INPUT, Network, batch_norms_of
from edge.network.operators import (
    OPERATORS,
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    Foreign,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Operator,
    Pool,
    Relu,
    Relu6,
    Select,
    ShapeError,
)
from edge.network.reading import read_network
from edge.network.trainable import select_trainable
from edge.network.writing import write_network
from edge.parameter import SCHEMES, Parameter

__all__ = [
    "INPUT",
    "OPERATORS",
    "SCHEMES",
    "Add",
    "AvgPool",
    "BatchNorm",
    "Conv",
    "Flatten",
    "Foreign",
    "GlobalAvgPool",
    "Linear",
    "MaxPool",
    "Network",
    "Operator",
    "Parameter",
    "Pool",
    "Relu",
    "Relu6",
    "Select",
    "ShapeError",
    "batch_norms_of",
    "check_network",
    "read_network",
    "select_trainable",
    "write_network",
]
