"""Which layers are sparse: by profile, by one sparsity, and every problem named at once."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from mest.errors import InputError
from mest.models import MODELS
from mest.sparse import Block, Channel, Irregular, Pattern, Target, layers_of, select_targets
from mest.sparse.distribution import erk_sparsities
from mest.sparse.layers import Layer, bare


class Mobile(nn.Module):
    """The shapes of mobilenet_v2: expansion, depthwise, projection, all on the main path."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.expand = nn.Conv2d(8, 32, 1)
        self.depthwise = nn.Conv2d(32, 32, 3, stride=2, groups=32)
        self.project = nn.Conv2d(32, 16, 1)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(16, 10))


class Residual(nn.Module):
    """A bottleneck with a named shortcut, one with a nameless strided one, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3)
        self.reduce = nn.Conv2d(16, 8, 1)
        self.conv2 = nn.Conv2d(8, 8, 3)
        self.downsample = nn.Sequential(nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8))
        self.beside = nn.Conv2d(8, 8, 1, stride=2)
        self.hidden = nn.Linear(8, 16)
        self.head = nn.Linear(16, 10)


def test_resnet32_has_thirty_sparse_convolutions() -> None:
    """As published: 30 block convolutions sparse; first one, shortcuts, classifier dense."""
    selection = select_targets(MODELS["resnet32"](classes=10), "block", sparsity=0.9)
    assert len(selection) == 30
    assert all(target == Target(name, 0.9, Block()) for name, target in selection.items())
    assert selection.dense == {
        "conv1.weight": "the first convolution",
        "layer2.0.downsample.0.weight": "a shortcut",
        "layer3.0.downsample.0.weight": "a shortcut",
        "linear.weight": "the classifier",
    }


def test_pointwise_convolutions_of_the_main_path_are_sparse() -> None:
    """In a mobilenet the 1×1 convolutions are the network; depthwise ones stay dense."""
    selection = select_targets(Mobile(), "irregular", sparsity=0.8)
    assert list(selection) == ["expand.weight", "project.weight"]
    assert selection.dense["depthwise.weight"] == "a depthwise convolution"


def test_shortcuts_are_known_by_name_or_by_stride() -> None:
    """Both 1×1 convolutions beside the path stay dense, the bottleneck's own does not."""
    selection = select_targets(Residual(), "irregular", sparsity=0.8)
    assert list(selection) == ["reduce.weight", "conv2.weight", "hidden.weight"]
    assert selection.dense["downsample.0.weight"] == selection.dense["beside.weight"] == "a shortcut"


def test_what_a_scheme_cannot_take_stays_dense_and_is_listed() -> None:
    """1×1 and linear layers under pattern, with the reason."""
    selection = select_targets(Residual(), "pattern", sparsity=0.8)
    assert list(selection) == ["conv2.weight"]
    assert "3×3 kernels and it has 1×1" in selection.dense["reduce.weight"]
    assert "no kernels" in selection.dense["hidden.weight"]


def test_a_model_without_a_linear_layer_ends_in_its_last_convolution() -> None:
    """Fully convolutional networks classify by a convolution."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 10, 1))
    assert list(select_targets(model, "block", sparsity=0.9)) == ["1.weight"]


def test_no_layer_left_is_an_error_with_reasons() -> None:
    """Not a run that trains dense without saying so."""
    with pytest.raises(InputError, match=r"no layer of this model can be sparse.*0\.weight: the first convolution"):
        select_targets(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 2)), "block", sparsity=0.9)


def test_a_profile_names_what_is_sparse() -> None:
    """Ratios by layer, 0 for dense, another scheme for one of them, a data-parallel prefix taken off."""
    profile = {
        "prune_ratios": {"module.conv2.weight": 0.75, "reduce.weight": 0.5, "head.weight": 0},
        "schemes": {"reduce.weight": "channel"},
    }
    selection = select_targets(Residual(), "pattern", profile=profile)
    assert selection.targets == {
        "reduce.weight": Target("reduce.weight", 0.5, Channel()),
        "conv2.weight": Target("conv2.weight", 0.75, Pattern()),
    }


def test_all_problems_of_a_profile_are_reported_together() -> None:
    """A foreign name with the nearest, a shape, a sparsity that pattern cannot have: one message, nothing ignored."""
    profile = {"conv2.weights": 0.9, "reduce.weight": 0.9, "conv2.weight": 0.5}
    with pytest.raises(InputError) as caught:
        select_targets(Residual(), "pattern", profile=profile)
    message = str(caught.value)
    assert "conv2.weights: the model has no convolution or linear weight of this name, nearest: conv2.weight" in message
    assert "reduce.weight: patterns are for 3×3 kernels" in message
    assert "conv2.weight: sparsity 0.5: scheme pattern cannot be below 5/9" in message
    assert "\n" not in message


def test_ten_channels_do_not_divide_into_blocks_of_four() -> None:
    """The message of the design, word for word."""
    model = nn.Sequential(nn.Conv2d(3, 10, 3))
    with pytest.raises(InputError) as caught:
        select_targets(model, "block", profile={"0.weight": 0.9})
    assert str(caught.value).endswith(
        "0.weight: 10 output channels do not divide into blocks of 4; use scheme irregular for this layer"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "sparsity: 1.0 is not a weight sparsity"),
        ({"sparsity": 0}, "sparsity 0 leaves nothing sparse"),
        ({"sparsity": 0.9, "distribution": "normal"}, "known: uniform, erk"),
        ({}, "either a profile or a sparsity"),
        ({"sparsity": 0.9, "profile": {"0.weight": 0.9}}, "either a profile or a sparsity"),
        ({"profile": {"conv2.weight": 0}}, "every ratio is 0"),
    ],
)
def test_options_that_select_nothing_are_refused(options: dict[str, object], message: str) -> None:
    """One line each."""
    with pytest.raises(InputError, match=message):
        select_targets(Residual(), "irregular", **options)  # type: ignore[arg-type]


def test_erk_keeps_the_whole_and_favours_small_layers() -> None:
    """The kept weights add up to what was asked, never more; the layer of few weights per channel is densest."""
    shapes = {"a": (16, 16, 3, 3), "b": (64, 64, 3, 3), "c": (64, 64, 1, 1)}
    sparsities = erk_sparsities(shapes, Fraction(9, 10))
    weights = {"a": 2304, "b": 36864, "c": 4096}
    kept = sum((1 - sparsities[name]) * weights[name] for name in shapes)
    asked = 0.1 * sum(weights.values())
    assert 0.999 * asked <= kept <= asked
    assert sparsities["b"] > sparsities["a"]


def test_erk_caps_a_layer_at_the_densest() -> None:
    """What a small layer cannot take goes to the others; at pattern's floor it is 5/9 and not 0."""
    shapes = {"small": (4, 4, 3, 3), "large": (64, 64, 3, 3)}
    assert erk_sparsities(shapes, Fraction(1, 2))["small"] == 0
    capped = erk_sparsities(shapes, Fraction(6, 10), Fraction(5, 9))
    assert Fraction(5, 9) <= Fraction(str(capped["small"])) < Fraction(5, 9) + Fraction(1, 1000)


def test_erk_lists_the_layers_that_it_keeps_dense() -> None:
    """They have no target, and say so."""
    selection = select_targets(MODELS["digits"](classes=10), "irregular", sparsity=0.3, distribution="erk")
    assert "the distribution keeps all of it" in selection.dense.values()


def test_layers_come_in_module_order_and_shared_weights_once() -> None:
    """A weight that two modules use is one layer."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv1d(4, 4, 3))
    model[1].weight = model[0].weight
    assert layers_of(model) == (Layer("0.weight", (4, 4)), Layer("2.weight", (4, 4, 3), 1, (1,)))


def test_wrapped_models_have_the_bare_models_names() -> None:
    """Inside DataParallel and torch.compile the parameters keep the names of a profile."""
    model = nn.Sequential(nn.Linear(4, 4))
    assert bare(nn.DataParallel(model)) is model
    assert bare(torch.compile(model)) is model
    assert layers_of(nn.DataParallel(model)) == layers_of(model)


def test_schemes_are_accepted_as_values() -> None:
    """A name or a value, both the same."""
    assert select_targets(Residual(), Irregular(), sparsity=0.5) == select_targets(
        Residual(), "irregular", sparsity=0.5
    )
