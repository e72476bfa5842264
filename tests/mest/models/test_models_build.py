"""Models by name: parameter names that published profiles rely on, sizes, and refusals."""

from __future__ import annotations

import pytest
import torch

from mest.errors import InputError
from mest.models import MODELS, ModelSpec, build_model
from mest.models.build import OF_WINDOWS

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


@pytest.mark.parametrize("name", sorted(MODELS.keys() - OF_WINDOWS))
def test_every_model_takes_grey_and_colour(name: str) -> None:
    """Each model gives one row of logits for any number of channels and classes."""
    for channels, classes in ((1, 3), (3, 100)):
        build_model(ModelSpec(name, classes, (channels, 32, 32)), 0)


def test_the_model_of_windows_takes_them_of_any_length_and_no_images() -> None:
    """One row of logits for a window; images are refused with what they are, and windows by a model of images."""
    for channels, length, classes in ((1, 9, 3), (6, 100, 7)):
        build_model(ModelSpec("windows", classes, (channels, length)), 0)
    with pytest.raises(InputError, match=r"takes windows \(channels, length\), the data hold images of 3x8x8"):
        build_model(ModelSpec("windows", 2, (3, 8, 8)))
    with pytest.raises(InputError, match=r"takes images, the data hold windows \(channels, length\) of 6x100"):
        build_model(ModelSpec("resnet20", 2, (6, 100)))


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
    with pytest.raises(InputError, match="has no 'smal'; it has small"):
        build_model(ModelSpec("our_own_nets:smal", 4, (2, 8, 8)), 0)


FACTORIES = """
import torch
from torch import nn

class Plain(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 4))

class ByAnotherName(nn.Sequential):
    def __init__(self, n_classes=7, in_chans=5):
        super().__init__(nn.Flatten(), nn.Linear(64 * in_chans, n_classes))

def short(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

def forwarded(**options):
    return short(options["num_classes"])

def wide(width, num_classes, /, depth, *rest):
    return short(num_classes)

def broken(num_classes):
    raise ValueError("no weights here")

def none(num_classes):
    return {}

class Moody(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.norm, self.body = nn.BatchNorm2d(1), short(num_classes)
    def forward(self, x):
        logits = self.body(self.norm(x))
        return {"logits": logits} if self.training else logits

class Fussy(Plain):
    def forward(self, x):
        raise KeyError("image")

made = Plain()
number = 4
"""


@pytest.fixture
def factories(tmp_path, monkeypatch) -> str:
    """The name of a module of factories in the current folder, another one for each test."""
    name = f"factories_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize("attribute", ["Plain", "ByAnotherName", "short", "forwarded"])
def test_factories_get_what_they_take(factories: str, attribute: str) -> None:
    """The number of classes under one of three names, or none at all where a class has its own."""
    model = build_model(ModelSpec(f"{factories}:{attribute}", 4, (1, 8, 8)), 0)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 4)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("Plain", "gives 4 logits for an image, the data have 3 classes"),
        (
            "wide",
            "wide needs width, num_classes, depth; a factory is called with one of num_classes, n_classes, classes",
        ),
        ("broken", r"calling broken failed: ValueError: no weights here \(factories_of_.*py, line \d+\)"),
        ("none", "none returned dict, not a torch.nn.Module"),
        ("Moody", "gives a dict in training; return the logits alone"),
        ("Fussy", r"does not take images of 1x8x8 \('image'\)"),
        ("made", "made is a model already; give a class or a function"),
        ("number", "number is a int; give a class or a function"),
    ],
)
def test_a_factory_that_does_not_fit_is_one_line(factories: str, attribute: str, message: str) -> None:
    """What it needs, returns or raises is said, with the file and line where it is the factory's own error."""
    with pytest.raises(InputError, match=message) as refused:
        build_model(ModelSpec(f"{factories}:{attribute}", 3, (1, 8, 8)), 0)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import no_such_library_at_all", r"importing .* failed: ModuleNotFoundError: No module named 'no_such_libr"),
        ("def f(:", r"importing .* failed: SyntaxError"),
        ("1 / 0", r"importing .* failed: ZeroDivisionError: division by zero \(broken_.*py, line 1\)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch, content: str, message: str) -> None:
    """The user's own mistake is named, not hidden behind a missing module."""
    name = f"broken_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        build_model(ModelSpec(f"{name}:f", 3, (1, 8, 8)), 0)


def test_a_missing_module_is_looked_for_where_it_says(tmp_path, monkeypatch) -> None:
    """From another folder the line says where it looked and what to do."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"neither in {tmp_path} nor on Python's path; run the command where it is"):
        build_model(ModelSpec("my_nets_elsewhere:f", 3, (1, 8, 8)), 0)


def test_trying_a_model_leaves_it_as_it_was(tmp_path, monkeypatch) -> None:
    """Running statistics, modes and the random generator are those of the factory."""
    (tmp_path / "still_nets.py").write_text(
        "from torch import nn\n"
        "def f(num_classes):\n"
        "    norm = nn.BatchNorm2d(1).eval()\n"
        "    return nn.Sequential(norm, nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    model = build_model(ModelSpec("still_nets:f", 3, (1, 8, 8)), 0)
    assert torch.equal(torch.rand(1), expected)
    assert (model[0].training, model.training) == (False, True)
    assert int(model[0].num_batches_tracked) == 0
    assert torch.equal(model[0].running_var, torch.ones(1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet33", "did you mean resnet32.*vgg19, windows, torchvision:NAME"),
        ("no_such_module:f", r"no module no_such_module, neither in /.* nor on Python's path"),
    ],
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
