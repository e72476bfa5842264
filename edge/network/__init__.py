"""The native network: what export writes, engines run and reports describe. See docs/network-format.md."""

from edge.network.checking import check_network
from edge.network.network import INPUT, Network
from edge.network.operators import (
    OPERATORS,
    Add,
    Arithmetic,
    AvgPool,
    BatchNorm,
    Conv,
    Div,
    Flatten,
    Foreign,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Mul,
    Operator,
    Pool,
    Relu,
    Relu6,
    Select,
    ShapeError,
    Sub,
)
from edge.network.reading import read_network
from edge.network.trainable import select_trainable
from edge.network.writing import write_network
from edge.weight.parameter import SCHEMES, Parameter

__all__ = [
    "INPUT",
    "OPERATORS",
    "SCHEMES",
    "Add",
    "Arithmetic",
    "AvgPool",
    "BatchNorm",
    "Conv",
    "Div",
    "Flatten",
    "Foreign",
    "GlobalAvgPool",
    "Linear",
    "MaxPool",
    "Mul",
    "Network",
    "Operator",
    "Parameter",
    "Pool",
    "Relu",
    "Relu6",
    "Select",
    "ShapeError",
    "Sub",
    "check_network",
    "read_network",
    "select_trainable",
    "write_network",
]
