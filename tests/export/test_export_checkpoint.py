"""A checkpoint of somebody's own loop becomes an artifact, by its model's name and a description of its data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import mest
from edge.handover.artifact import open_artifact
from edge.weight.formats import decode, kept_mask
from export.checkpoint import Described, source_of_checkpoint
from mest.cli import main
from mest.errors import DamagedError, InputError

NETS = """
from torch import nn

def net(num_classes):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, num_classes),
    )
"""
OPTIONS = {"input_shape": "1x8x8", "class_names": "ant,bee,cat", "mean": "0.5", "std": "0.25"}


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The user's module in the current folder."""
    name = f"nets_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return __import__(name)


def described(nets: ModuleType, **more: str | None) -> Described:
    return Described(**{"model": f"{nets.__name__}:net", **OPTIONS, **more})


def sparse_net(nets: ModuleType) -> tuple[nn.Module, mest.Sparsifier]:
    torch.manual_seed(0)
    model = nets.net(3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return model, mest.sparsify(model, optimizer, scheme="block:2", sparsity=0.75, method="static", epochs=4)


def test_a_checkpoint_goes_to_an_artifact_by_the_command_line(nets: ModuleType, tmp_path: Path, capsys) -> None:
    """Weights, zeros, scheme, names and preprocessing are those of the loop that saved it."""
    model, sparsifier = sparse_net(nets)
    torch.save({"model": model.state_dict(), "sparse": sparsifier.state_dict(), "epoch": 3}, "mine.pt")
    assert main(["export", "mine.pt", "--out", "art"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    for option in ("--model", "--input-shape", "--class-names", "--mean", "--std"):
        assert f"{option} is needed, such as" in line
    words = ["--model", f"{nets.__name__}:net", "--input-shape", "1x8x8", "--mean", "0.5", "--std", "0.25"]
    assert main(["export", "mine.pt", "--out", "art", *words, "--class-names", "ant,bee,cat"]) == 0
    artifact = open_artifact(Path("art"))
    assert artifact.class_names == ("ant", "bee", "cat")
    parameter = artifact.network.sparse_parameters()["3.weight"]
    assert (parameter.scheme, parameter.height, parameter.target_sparsity) == ("block", 2, 0.75)
    np.testing.assert_array_equal(kept_mask(parameter), sparsifier.masks["3.weight"].numpy())
    np.testing.assert_array_equal(decode(parameter), model[3].weight.detach().numpy())


def zeros(model: nn.Module) -> dict[str, Tensor]:
    return model.state_dict()


def lightning(model: nn.Module) -> dict[str, object]:
    return {"state_dict": {f"net.{name}": value for name, value in model.state_dict().items()}, "epoch": 1}


def wrapped(model: nn.Module) -> dict[str, object]:
    return {"model_state_dict": {f"module._orig_mod.{name}": value for name, value in model.state_dict().items()}}


def under_prune(model: nn.Module) -> dict[str, Tensor]:
    prune.custom_from_mask(model[3], "weight", model[3].weight != 0)
    return model.state_dict()


@pytest.mark.parametrize("form", [zeros, lightning, wrapped, under_prune])
def test_what_loops_save_is_understood(nets: ModuleType, form: Callable[[nn.Module], object]) -> None:
    """Plain, under a key, with the prefixes of wrappers, and as torch.nn.utils.prune stores weights."""
    model, sparsifier = sparse_net(nets)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(form(model), "mine.pt")
    source = source_of_checkpoint(Path("mine.pt"), described(nets))
    assert source.layers.keys() == {"3.weight"}
    layer = source.layers["3.weight"]
    assert (layer.scheme, layer.height) == ("irregular", None)
    np.testing.assert_array_equal(layer.mask, sparsifier.masks["3.weight"].numpy())
    assert all(torch.equal(value, expected[name]) for name, value in source.model.state_dict().items())
    block = source_of_checkpoint(Path("mine.pt"), described(nets, scheme="block:2", class_names="3"))
    assert (block.layers["3.weight"].scheme, block.class_names) == ("block", ("0", "1", "2"))


def test_nothing_but_tensors_and_plain_values_is_read(nets: ModuleType) -> None:
    """A pickled model could run anything: refused with what to save instead; so is a file of something else."""
    torch.save(nets.net(3), "whole.pt")
    with pytest.raises(DamagedError, match=r"never run; save it anew with torch.save"):
        source_of_checkpoint(Path("whole.pt"), described(nets))
    Path("text.pt").write_text("weights")
    with pytest.raises(DamagedError, match=r"text.pt"):
        source_of_checkpoint(Path("text.pt"), described(nets))
    torch.save({"epoch": 3}, "empty.pt")
    with pytest.raises(InputError, match="no weights in it"):
        source_of_checkpoint(Path("empty.pt"), described(nets))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet20"}, "lacks conv1.weight"),
        ({"class_names": "ant,bee"}, r"6.weight is \(3, 128\), the model's \(2, 128\)"),
        ({"class_names": "ant"}, "neither a file nor two names"),
        ({"input_shape": "1x8x8x8"}, "a board takes images"),
        ({"input_shape": "1*8*8"}, "input_shape 1.8.8: give whole numbers with x between them"),
        ({"mean": "half", "std": "0,0"}, "mean half: give a number"),
        ({"std": "-1", "crop": "9"}, "std -1.0: give numbers above 0; preprocess: crop 9x9"),
        ({"scheme": "channel"}, "not made of whole units of scheme channel"),
    ],
)
def test_what_does_not_fit_is_one_line(nets: ModuleType, options: dict[str, str], message: str) -> None:
    """The file and the names or numbers that differ."""
    torch.save(sparse_net(nets)[0].state_dict(), "mine.pt")
    with pytest.raises(InputError, match=message) as refused:
        source_of_checkpoint(Path("mine.pt"), described(nets, **options))
    assert "\n" not in str(refused.value)


def test_masks_that_do_not_fit_their_weights_are_refused(nets: ModuleType) -> None:
    """A sparsifier's state beside weights of another epoch would cut them."""
    model, sparsifier = sparse_net(nets)
    torch.save({"model": nets.net(3).state_dict(), "sparse": sparsifier.state_dict()}, "mine.pt")
    with pytest.raises(InputError, match=r"3.weight: weights outside the sparsifier's mask are not zero"):
        source_of_checkpoint(Path("mine.pt"), described(nets))
    torch.save({"model": model.state_dict(), "sparse": sparsifier.state_dict()}, "mine.pt")
    with pytest.raises(InputError, match="leave it out"):
        source_of_checkpoint(Path("mine.pt"), described(nets, scheme="block:2"))


def test_a_description_without_a_checkpoint_is_refused(tmp_path: Path, capsys) -> None:
    """A run knows its own data; nothing given is ignored."""
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "art"), "--mean", "0"]) == 2
    assert "--mean: describes a checkpoint" in capsys.readouterr().err
