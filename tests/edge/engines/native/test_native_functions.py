"""The values of activations over all sizes of numbers, on every instruction set, against PyTorch in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from activation_cases import ACTIVATIONS
from native_networks import Builder

from edge.engines.native.engine import NativeEngine
from edge.libmest.library import instruction_sets
from edge.network import Operator
from edge.network.operators.activation_functions import Silu
from edge.plan.choices import Choices

SPANS = [np.linspace(-span, span, 9001) for span in (1e-3, 1, 12, 100)]
ENDS = [0.0, -0.0, 1e-38, -1e-38, 87.3, 88.4, 89, -87.4, -104, 1e6, -1e6, 1e18, -1e18]
NUMBERS = np.concatenate([*SPANS, ENDS]).astype(np.float32)


def values_of(kind: type[Operator], instruction_set: str, numbers: np.ndarray) -> np.ndarray:
    """What the engine makes of numbers: the logits of a network that weighs each by 1 and applies the activation."""
    count = len(numbers)
    b = Builder((1, 1, count), count)
    x = b.conv("input", 1, kernel=1, padding=0)
    b.parameters["w0"].values[...] = 1
    b.activation(kind, b.flatten(x))
    engine = NativeEngine.of(b.network(), Choices(batch_size=1, micro_batch=1), instruction_set)
    try:
        return engine.predict(numbers.reshape(1, 1, 1, count))[0]
    finally:
        engine.close()


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_activations_are_right_to_a_few_units_in_the_last_place(kind: type[Operator], instruction_set: str) -> None:
    """Relative to the value, down to where a number beside 1 is lost; infinite where floats end."""
    expected = (
        ACTIVATIONS[kind].torch(torch.tensor(NUMBERS.astype(np.float64))).float().numpy()
    )  # infinite beyond floats
    found = values_of(kind, instruction_set, NUMBERS)
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=3e-8)


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_nan_stays_nan(kind: type[Operator], instruction_set: str) -> None:
    """Wherever it stands in a vector; its neighbours keep their values."""
    numbers = np.full(19, 0.25, np.float32)
    numbers[[0, 7, 18]] = np.nan
    found = values_of(kind, instruction_set, numbers)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(numbers))


@pytest.mark.parametrize("instruction_set", instruction_sets())
def test_a_value_does_not_depend_on_how_many_there_are(instruction_set: str) -> None:
    """Rows of any length, whose last numbers are no whole vector, are bit for bit the beginning of a long one."""
    numbers = np.linspace(-3, 3, 40, dtype=np.float32)
    whole = values_of(Silu, instruction_set, numbers)
    for count in range(1, 34):
        np.testing.assert_array_equal(values_of(Silu, instruction_set, numbers[:count]), whole[:count])
