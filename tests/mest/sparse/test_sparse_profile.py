"""Profiles on disk: what is read, what is refused, and that those we ship fit the models."""

from __future__ import annotations

from pathlib import Path

import pytest

from mest.errors import InputError
from mest.models import MODELS
from mest.sparse import read_profile, select_targets
from mest.sparse.generate_profiles import FOLDERS, main, profiles

ROOT = Path(__file__).resolve().parents[3] / "profiles"


def test_shipped_profiles_are_what_the_generator_writes(tmp_path: Path) -> None:
    """Every file, byte for byte, and none besides."""
    main([str(tmp_path)])
    written = {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.rglob("*.yaml")}
    shipped = {file.relative_to(ROOT): file.read_bytes() for file in ROOT.glob("*_cifar/*/*.yaml")}
    assert shipped == written
    assert len(written) == 2 * (4 * 7 - 1)


@pytest.mark.parametrize("model_name", ["resnet32", "vgg19"])
def test_shipped_profiles_fit_their_models(model_name: str) -> None:
    """Each selects the same layers in its scheme, at the sparsity in its name."""
    model = MODELS[model_name](classes=100)
    schemes = {folder: scheme for scheme, folder in FOLDERS.items()}
    for path, _ in profiles():
        if path.startswith(model_name):
            selection = select_targets(model, schemes[path.split("/")[1]], profile=f"profiles/{path}")
            assert len(selection) == {"resnet32": 30, "vgg19": 15}[model_name]
            assert {target.weight_sparsity for target in selection.values()} == {float(Path(path).stem.split("_")[1])}


def test_the_published_path_reads() -> None:
    """As the paper's scripts name it, from any directory."""
    profile = read_profile("profiles/resnet32_cifar/blk/resnet32_0.9.yaml")
    assert profile.prune_ratios["layer1.0.conv1.weight"] == 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the key 'prune_ratios'"),
        ("- 1", "needs the key 'prune_ratios'"),
        ("prune_ratios: {}", "names no parameter"),
        ("prune_ratios: {a: 1.0}", "a: 1.0 is not a weight sparsity"),
        ("prune_ratios: {a: -0.1}", "is not a weight sparsity"),
        ("prune_ratios: {a: .nan}", "is not a number"),
        ("prune_ratios: {a: high}", "a: 'high' is not a number"),
        ("prune_ratios: {a: true}", "a: True is not a number"),
        ("prune_ratios: {a: 0.9}\nratio: 2", r"unknown key 'ratio' \(allowed: prune_ratios, schemes\)"),
        ("prune_ratios: {a: 0.9}\nschemes: {b: block}", "schemes: b is not among the prune_ratios"),
        ("prune_ratios: {a: 0.9}\nschemes: block", "'schemes' must map"),
        ("prune_ratios:\n  a: 0.9\n  a: 0.8", "key 'a' is given twice"),
        ("prune_ratios: [", "not a readable YAML"),
        ("!!python/object/apply:os.getcwd []", "not a readable YAML"),
    ],
)
def test_bad_profiles_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    """The file and what is wrong with it."""
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_profile(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_problems_of_a_file_come_together(tmp_path: Path) -> None:
    """Two bad ratios and an unknown key are one message."""
    file = tmp_path / "p.yaml"
    file.write_text("prune_ratios: {a: 1.5, b: no}\nextra: 1")
    with pytest.raises(InputError) as caught:
        read_profile(file)
    assert all(word in str(caught.value) for word in ("a: 1.5", "b: False", "'extra'"))


def test_a_missing_profile_names_the_nearest() -> None:
    """A slip in a packaged path is answered with what exists."""
    with pytest.raises(InputError, match=r"nearest: profiles/resnet32_cifar/blk/resnet32_0\.9"):
        read_profile("profiles/resnet32_cifar/blk/resnet32_0.90.yaml")


def test_a_profile_of_another_model_is_refused() -> None:
    """Every key that matches nothing is an error, with the file's name."""
    with pytest.raises(InputError, match=r"vgg19_0\.9\.yaml: features\.3\.weight: the model has no"):
        select_targets(MODELS["resnet32"](classes=10), "block", profile="profiles/vgg19_cifar/blk/vgg19_0.9.yaml")
