"""What must hold between operators and parameters, whoever wrote them."""

from __future__ import annotations

from math import prod
from typing import NoReturn

from edge.errors import DamagedError
from edge.network.network import INPUT, Network
from edge.network.operators import Operator, RoleError, Shape, ShapeError

DESCRIPTION = "network.json"
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
            if roles.setdefault(name, role) != role and not operator.shares_parameters:
                _refuse(place, f"its {role} {name!r} is also used as {roles[name]}")
        _check_shape(operator, network, shapes, place)
        try:
            operator.check_parameters(network.parameters, [shapes[name] for name in operator.inputs])
        except RoleError as error:
            _refuse(place, str(error))
        shapes[operator.name] = operator.shape
        unread.difference_update(operator.inputs)
        unread.add(operator.name)
    last = network.operators[-1]
    wanted = network.task.output(network.classes, network.input)
    if last.shape != wanted and not _same_vector(last.shape, wanted):
        what = "the logits" if network.task.of_classes else f"what {network.task.name} needs,"
        _refuse(f"operator {last.name!r}", f"the last must write {what} {list(wanted)}, not {list(last.shape)}")
    unread.remove(last.name)
    if unread:
        _refuse(f"operator {min(unread)!r}", "nothing reads its value")
    unused = network.parameters.keys() - roles.keys()
    if unused:
        _refuse(f"parameter {min(unused)!r}", "no operator uses it")


def _same_vector(shape: Shape, wanted: Shape) -> bool:
    """True for the `(features,)` of a vector, which is an image of one pixel in the network."""
    return len(wanted) == 3 and wanted == (*shape, 1, 1)


def _refuse(place: str, problem: str) -> NoReturn:
    raise DamagedError(f"{DESCRIPTION}: {place}: {problem}; export the artifact again")


def _check_inputs(operator: Operator, shapes: dict[str, Shape], place: str) -> None:
    if operator.arity is None:
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
        parameters = operator.parameter_shapes(network.parameters)
        inferred = operator.output_shape(*(shapes[name] for name in operator.inputs), **parameters)
    except ShapeError as error:
        _refuse(place, str(error))
    if inferred != operator.shape:
        _refuse(place, f"shape {list(operator.shape)} is stated, {list(inferred)} follows from its inputs")
    if prod(inferred) > MAX_ELEMENTS:
        _refuse(place, f"a value of shape {list(inferred)} is too large")
