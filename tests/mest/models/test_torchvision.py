"""Without torchvision, or with one that does not fit: which option wants it, and what to do."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from mest.errors import InputError
from mest.torchvision import load_torchvision
from mest.train.recipe import build_config
from mest.train.trainer import open_data


@pytest.fixture(autouse=True)
def not_imported_yet(monkeypatch) -> None:
    """What other tests imported of torchvision would otherwise be found."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)


def test_an_absent_torchvision_is_named_with_what_to_install(monkeypatch) -> None:
    """And with a way to do without it; recipes of the published scripts ask for cifar10."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match=r"--data cifar10: .*pip install .*imagefolder:DIR") as refused:
        open_data(build_config({"data": "cifar10"}).data)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=r"--model torchvision:resnet18: .*or give one of"):
        load_torchvision("models", "--model torchvision:resnet18", "give one of ours")


def test_a_torchvision_that_does_not_load_is_no_bug_of_ours(monkeypatch) -> None:
    """A build for another torch fails while it registers its operators."""

    class Unfit(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("operator torchvision::nms does not exist\nand a second line")

    monkeypatch.setitem(sys.modules, "torchvision", Unfit("torchvision"))
    with pytest.raises(InputError, match=r"nms does not exist\): install the two together, or") as refused:
        load_torchvision("models", "--model torchvision:resnet18", "give another")
    assert "second line" not in str(refused.value)
