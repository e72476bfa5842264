"""Finding what is packaged by its path in the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mest.packaged
from mest.errors import InputError
from mest.packaged import resolve_packaged
from mest.version import __version__

NAME = "profiles/resnet32_cifar/irr/resnet32_0.9.yaml"


def test_found_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory does not matter."""
    monkeypatch.chdir(tmp_path)
    assert resolve_packaged(NAME).is_file()


def test_a_file_as_given_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's own file of the same path wins."""
    own = tmp_path / NAME
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert resolve_packaged(NAME).read_text() == "mine"


def test_found_inside_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no repository, the package carries its own copy."""
    packaged = tmp_path / "site-packages" / "mest" / "_packaged" / NAME
    packaged.parent.mkdir(parents=True)
    packaged.write_text("packaged")
    monkeypatch.setattr(mest.packaged, "__file__", str(tmp_path / "site-packages" / "mest" / "packaged.py"))
    monkeypatch.chdir(tmp_path)
    assert resolve_packaged(NAME) == packaged


def test_a_packaged_pickle_leads_to_its_twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel carries each ranking once, as .npz; an own pickle of another name is not replaced by anything."""
    packaged = tmp_path / "mest" / "_packaged" / "pkl" / "ranking.npz"
    packaged.parent.mkdir(parents=True)
    packaged.write_bytes(b"")
    monkeypatch.setattr(mest.packaged, "__file__", str(tmp_path / "mest" / "packaged.py"))
    here = tmp_path / "here"
    here.mkdir()
    (here / "own.npz").write_bytes(b"")
    monkeypatch.chdir(here)
    assert resolve_packaged("pkl/ranking.pkl") == packaged
    for other in ("own.pkl", "pkl/other.pkl"):
        with pytest.raises(InputError, match="no such file"):
            resolve_packaged(other)


def test_nothing_outside_the_roots_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that climbs out finds only what it names from here."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        resolve_packaged("profiles/../../outside.yaml")


def test_the_module_for_browsers_bears_the_version_of_the_distribution() -> None:
    """Its npm package says the version by hand; this moves it along."""
    package = Path(__file__).resolve().parents[2] / "edge" / "libmest" / "web" / "package.json"
    assert json.loads(package.read_text())["version"] == __version__
