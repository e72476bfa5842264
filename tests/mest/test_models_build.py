"""Models by name: parameter names that published profiles rely on, sizes, and refusals."""

from __future__ import annotations

import pytest
import torch

from mest.errors import InputError
from mest.models import MODELS, ModelSpec, build_model

CIFAR = (3, 32, 32)


def names(model: str) -> list[str]:
    return [name for name, _ in build_model(ModelSpec(model, 10, CIFAR), 0).named_parameters()]


def test_resnet32_is_the_wide_one_of_the_paper() -> None:
    """1.86 M parameters, 30 sparse-able 3x3 convolutions in blocks, two 1x1 shortcuts."""
    model = build_model(ModelSpec("resnet32", 10, CIFAR), 0)
    assert sum(weight.numel() for weight in model.parameters()) == 1_860_522
    kernels = {name: tuple(weight.shape[2:]) for name, weight in model.named_parameters() if weight.dim() == 4}
    assert [name for name, kernel in kernels.items() if kernel == (1, 1)] == [
        "layer2.0.downsample.0.weight",
        "layer3.0.downsample.0.weight",
    ]
    assert sum(kernel == (3, 3) and name.startswith("layer") for name, kernel in kernels.items()) == 30


def test_parameter_names_are_the_published_ones() -> None:
    """The names outside and at the edge of the blocks, which differ between the published models."""
    wide, narrow = names("resnet32"), names("resnet20")
    assert {"conv1.weight", "bn.weight", "layer1.0.conv1.weight", "layer2.0.bn3.weight", "linear.weight"} <= set(wide)
    assert {"conv1.weight", "bn1.weight", "layer3.2.conv2.weight", "layer2.0.downsample.1.weight"} <= set(narrow)
    assert "fc.weight" in narrow


def test_vgg19_numbers_its_features_as_the_published_profile() -> None:
    """The convolutions of `profiles/vgg19_cifar` are features 0, 3, 7, 10, 14, ... 49."""
    found = [name for name in names("vgg19") if name.endswith("weight") and "features" in name]
    convolutions = [int(name.split(".")[1]) for name in found][::2]
    assert convolutions == [0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_takes_grey_and_colour(name: str) -> None:
    """Each model gives one row of logits for any number of channels and classes."""
    for channels, classes in ((1, 3), (3, 100)):
        build_model(ModelSpec(name, classes, (channels, 32, 32)), 0)


def test_digits_can_be_sparse_in_every_scheme() -> None:
    """Its inner convolutions are 3x3 with channels that divide by 4."""
    model = build_model(ModelSpec("digits", 10, (1, 8, 8)), 0)
    inner = [weight for name, weight in model.named_parameters() if weight.dim() == 4 and "layer" in name]
    assert sum(weight.shape[2] == 3 for weight in inner) == 6
    assert all(weight.shape[0] % 4 == 0 and weight.shape[1] % 4 == 0 for weight in inner)


def test_a_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    """Equal seeds give equal weights, others do not, and random numbers drawn around it do not shift."""
    spec = ModelSpec("digits", 10, (1, 8, 8))
    torch.manual_seed(5)
    first = build_model(spec, 1).conv1.weight
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    assert torch.equal(first, build_model(spec, 1).conv1.weight)
    assert not torch.equal(first, build_model(spec, 2).conv1.weight)


def test_own_model_comes_from_a_factory_in_the_current_folder(tmp_path, monkeypatch) -> None:
    """`module:factory` is called with num_classes, and with in_channels if it takes that."""
    (tmp_path / "our_own_nets.py").write_text(
        "from torch import nn\n"
        "def small(num_classes, in_channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes))\n"
        "def fixed(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    model = build_model(ModelSpec("our_own_nets:small", 4, (2, 8, 8)), 0)
    assert model[1].weight.shape == (4, 128)
    with pytest.raises(InputError, match="does not take images of 2x8x8"):
        build_model(ModelSpec("our_own_nets:fixed", 4, (2, 8, 8)), 0)
    with pytest.raises(InputError, match="has no callable 'smal'; it has small"):
        build_model(ModelSpec("our_own_nets:smal", 4, (2, 8, 8)), 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet33", "did you mean resnet32.*vgg19, torchvision:NAME"), ("no_such_module:f", "no module no_such_module")],
)
def test_unknown_models_are_refused_with_the_names_that_work(name: str, message: str) -> None:
    """The refusal names what was given and lists what is allowed."""
    with pytest.raises(InputError, match=message):
        build_model(ModelSpec(name, 10, CIFAR), 0)


def test_torchvision_models_fit_the_classes() -> None:
    """`torchvision:NAME` is built for our number of classes; an unknown name gives near ones."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    model = build_model(ModelSpec("torchvision:mobilenet_v3_small", 7, (3, 64, 64)), 0)
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    with pytest.raises(InputError, match="no such classifier; near: resnet18"):
        build_model(ModelSpec("torchvision:resnet1", 7, (3, 64, 64)), 0)
