"""What must hold between operators and parameters, whoever wrote them."""

from __future__ import annotations

from math import prod
from typing import NoReturn

import numpy as np

from edge.errors import DamagedError
from edge.network.network import INPUT, Network, dense_shape
from edge.network.operators import Conv, Foreign, Operator, Shape, ShapeError
from edge.parameter import Parameter

DESCRIPTION = "network.json"
MAX_DIMENSION = 2**24
MAX_ELEMENTS = 2**31 - 1  # flat positions are int32


def check_network(network: Network) -> None:
    """Raise DamagedError, naming the operator or parameter, unless all of them fit together.

    Every name is resolved, every shape inferred and compared with the stated one, every parameter has one role and the
    kind that its role allows, and nothing is left over. The arrays of a parameter are checked by its format.
    """
    if not network.operators:
        _refuse("the network", "no operators")
    shapes: dict[str, Shape] = {INPUT: network.input}
    unread: set[str] = set()
    roles: dict[str, str] = {}
    for operator in network.operators:
        place = f"operator {operator.name!r}"
        if operator.name in shapes:
            _refuse(place, "an earlier value has the same name")
        _check_inputs(operator, shapes, place)
        for role, name in operator.parameters().items():
            if name not in network.parameters:
                _refuse(place, f"its {role} {name!r} is not among the parameters")
            if roles.setdefault(name, role) != role and not isinstance(operator, Foreign):
                _refuse(place, f"its {role} {name!r} is also used as {roles[name]}")
        _check_shape(operator, network, shapes, place)
        _check_roles(operator, network, shapes, place)
        shapes[operator.name] = operator.shape
        unread.difference_update(operator.inputs)
        unread.add(operator.name)
    last = network.operators[-1]
    if last.shape != (network.classes,):
        _refuse(
            f"operator {last.name!r}", f"the last must write the logits [{network.classes}], not {list(last.shape)}"
        )
    unread.remove(last.name)
    if unread:
        _refuse(f"operator {min(unread)!r}", "nothing reads its value")
    unused = network.parameters.keys() - roles.keys()
    if unused:
        _refuse(f"parameter {min(unused)!r}", "no operator uses it")


def _refuse(place: str, problem: str) -> NoReturn:
    raise DamagedError(f"{DESCRIPTION}: {place}: {problem}; export the artifact again")


def _check_inputs(operator: Operator, shapes: dict[str, Shape], place: str) -> None:
    if isinstance(operator, Foreign):
        if not operator.inputs:
            _refuse(place, f"{operator.op} takes 1 input or more, not 0")
    elif len(operator.inputs) != operator.arity:
        _refuse(place, f"{operator.op} takes {operator.arity} inputs, not {len(operator.inputs)}")
    for name in operator.inputs:
        if name not in shapes:
            _refuse(place, f"no earlier operator writes its input {name!r}")


def _check_shape(operator: Operator, network: Network, shapes: dict[str, Shape], place: str) -> None:
    """The stated shape must be the one that follows from inputs and parameters, and be of bounded size."""
    try:
        weight = dense_shape(operator, network.parameters)
        inferred = operator.output_shape(*(shapes[name] for name in operator.inputs), weight=weight)
    except ShapeError as error:
        _refuse(place, str(error))
    if inferred != operator.shape:
        _refuse(place, f"shape {list(operator.shape)} is stated, {list(inferred)} follows from its inputs")
    if prod(inferred) > MAX_ELEMENTS:
        _refuse(place, f"a value of shape {list(inferred)} is too large")


def _check_roles(operator: Operator, network: Network, shapes: dict[str, Shape], place: str) -> None:
    """Each parameter must have the kind, shape and format that its role allows."""
    source = shapes[operator.inputs[0]]
    for role, name in operator.parameters().items():
        parameter = network.parameters[name]
        if role == "weight":
            if parameter.values.dtype != np.float32:
                _refuse(place, f"its weight {name!r} is not float32")
            if isinstance(operator, Conv):
                _check_groups(operator, parameter, place)
            continue
        if isinstance(operator, Foreign):
            if parameter.values.dtype != np.float32:
                _refuse(place, f"its parameter {name!r} is not float32")
            continue
        if role == "channels":
            _check_channels(parameter, source, place)
            continue
        expected = operator.shape[:1]
        if parameter.shape != expected or parameter.format != "dense" or parameter.sparse:
            _refuse(
                place, f"its {role} {name!r} must be dense and of shape {list(expected)}, not {list(parameter.shape)}"
            )
        if parameter.values.dtype != np.float32:
            _refuse(place, f"its {role} {name!r} is not float32")
        if role in ("mean", "variance") and parameter.trainable:
            _refuse(place, f"its {role} {name!r} cannot be trainable")


def _check_groups(operator: Conv, parameter: Parameter, place: str) -> None:
    if operator.groups > 1 and parameter.format == "channel":
        _refuse(place, "format channel needs a convolution without groups")
    if parameter.format == "block" and (operator.shape[0] // operator.groups) % (parameter.height or 1):
        _refuse(place, f"blocks of {parameter.height} rows reach over groups of {operator.shape[0] // operator.groups}")


def _check_channels(parameter: Parameter, source: Shape, place: str) -> None:
    values = parameter.values
    if values.dtype != np.int32 or parameter.format != "dense" or parameter.trainable or parameter.sparse:
        _refuse(place, f"its channels {parameter.name!r} must be a dense int32 list that is not trainable")
    if int(values.min()) < 0 or int(values.max()) >= source[0]:
        _refuse(place, f"its channels {parameter.name!r} are not all from 0 to {source[0] - 1}")
    if not np.diff(np.sort(values)).all():
        _refuse(place, f"its channels {parameter.name!r} list one twice")
