"""The operators of the native network: one module a family, one line an operator in the registry."""

from edge.network.operators.activation import Relu, Relu6
from edge.network.operators.arithmetic import Add, Arithmetic, Div, Mul, Sub
from edge.network.operators.arrangement import Flatten, Select
from edge.network.operators.convolution import Conv, Linear
from edge.network.operators.foreign import Foreign
from edge.network.operators.norm import BatchNorm
from edge.network.operators.operator import Operator
from edge.network.operators.pooling import AvgPool, GlobalAvgPool, MaxPool, Pool
from edge.network.operators.registry import OPERATORS
from edge.network.operators.roles import RoleError
from edge.network.operators.shapes import Padding, Pair, Shape, ShapeError

__all__ = [
    "OPERATORS",
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
    "Operator",
    "Padding",
    "Pair",
    "Pool",
    "Relu",
    "Relu6",
    "RoleError",
    "Select",
    "Shape",
    "ShapeError",
    "Sub",
]
