"""Every operator that the reference computes, over random cases: shape and value against PyTorch, gradients against
PyTorch and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the referee of the reference is PyTorch, which is not installed")

from operator_cases import DESCRIPTIONS, Case  # noqa: E402

from edge.engines.reference.operators import RULES, rule_of  # noqa: E402
from edge.network import OPERATORS  # noqa: E402

KINDS = {kind.op: kind for kind in RULES}
STEP = 1e-5


def test_every_operator_has_a_rule_and_a_description() -> None:
    """What the network has and our engines compute, the reference computes and the tests can draw."""
    ours = {kind for kind in OPERATORS.values() if not kind.foreign}
    assert set(RULES) == ours
    assert set(DESCRIPTIONS) == ours


def inputs_of(case: Case, rng: np.random.Generator) -> list[np.ndarray]:
    """Values of all inputs, all different by more than the step that differences take, and none within it of a bend."""
    count = sum(3 * int(np.prod(shape)) for shape in case.inputs)
    values = (rng.permutation(count) - 0.4 * count) * (12 / count)
    for bend in case.bends:
        values += np.where(np.abs(values - bend) < case.clear, 10 * case.clear, 0)
    parts = np.split(values, np.cumsum([3 * int(np.prod(shape)) for shape in case.inputs])[:-1])
    return [part.reshape(3, *shape) for part, shape in zip(parts, case.inputs, strict=True)]


def drawn(op: str, data: st.DataObject) -> tuple[Case, np.random.Generator]:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    return DESCRIPTIONS[KINDS[op]](data.draw, rng), rng


@pytest.mark.parametrize("op", KINDS)
@given(data=st.data())
def test_shape_value_and_gradients_are_those_of_pytorch_random(op: str, data: st.DataObject) -> None:
    """The shape that the rule infers, the value and every gradient, to rounding in float64."""
    case, rng = drawn(op, data)
    operator, inputs = case.operator(), inputs_of(case, rng)
    theirs = [torch.tensor(value, requires_grad=True) for value in inputs]
    parameters = {
        role: torch.tensor(tensor, requires_grad=tensor.dtype.kind == "f" and role not in ("mean", "variance"))
        for role, tensor in case.tensors.items()
    }
    expected = case.torch(theirs, parameters)
    assert operator.shape == tuple(expected.shape[1:])
    found = rule_of(operator).forward(operator, inputs, case.tensors, case.batch_statistics)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-10, atol=1e-10)

    grad = rng.normal(size=found.shape)
    expected.backward(torch.tensor(grad))
    back, by_role = rule_of(operator).backward(operator, inputs, case.tensors, case.batch_statistics, grad)
    for ours, value in zip(back, theirs, strict=True):
        np.testing.assert_allclose(ours, value.grad.numpy(), rtol=1e-8, atol=1e-9)
    for role, tensor in parameters.items():
        if tensor.requires_grad:
            np.testing.assert_allclose(by_role[role], tensor.grad.numpy(), rtol=1e-8, atol=1e-9, err_msg=role)


@pytest.mark.parametrize("op", KINDS)
@given(data=st.data())
def test_gradients_are_those_of_finite_differences_random(op: str, data: st.DataObject) -> None:
    """Along a random direction in every input and in every parameter that has a gradient."""
    case, rng = drawn(op, data)
    operator, inputs = case.operator(), inputs_of(case, rng)
    rule = rule_of(operator)
    grad = rng.normal(size=(3, *operator.shape))
    back, by_role = rule.backward(operator, inputs, case.tensors, case.batch_statistics, grad)

    def along(moved: list[np.ndarray], tensors: dict[str, np.ndarray]) -> float:
        return float((rule.forward(operator, moved, tensors, case.batch_statistics) * grad).sum())

    for place, value in enumerate(inputs):
        way = rng.choice([-1.0, 1.0], size=value.shape)
        ends = [[*inputs[:place], value + sign * STEP * way, *inputs[place + 1 :]] for sign in (1, -1)]
        measured = (along(ends[0], case.tensors) - along(ends[1], case.tensors)) / (2 * STEP)
        assert float((back[place] * way).sum()) == pytest.approx(measured, rel=1e-5, abs=1e-5)
    for role in by_role.keys() & case.tensors.keys():
        value = case.tensors[role]
        way = rng.choice([-1.0, 1.0], size=value.shape)
        ends = [{**case.tensors, role: value + sign * STEP * way} for sign in (1, -1)]
        measured = (along(inputs, ends[0]) - along(inputs, ends[1])) / (2 * STEP)
        assert float((by_role[role] * way).sum()) == pytest.approx(measured, rel=1e-5, abs=1e-5)
