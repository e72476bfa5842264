"""What programs may use is listed, name by name with its signature, so that a change is a decision.

Written anew by `python tests/test_public_surface.py`; what it changes belongs into the changelog.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LISTED = Path(__file__).with_name("public_surface.txt")
PACKAGES = ("edge", "export", "mest", "mest.loops", "mest.ranking", "mest.sparse")
RETURNED = ("edge.MemoryPlan", "edge.Model")  # no program makes one, so what makes one is not promised
ADDRESS = re.compile(r"<function .*? at 0x\w+>")
IMPORT = re.compile(
    r"^\s*(?:from ((?:edge|export|mest)\b[\w.]*) import (.+)|import ((?:edge|export|mest)\b[\w.]*))", re.MULTILINE
)
ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # in the place of tests/, whose folder edge/ would be taken for the package


def offered() -> Iterator[tuple[str, Any]]:
    """The full name of all that is public, with what it is; the members of classes too."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in sorted(module.__all__):
            thing = getattr(module, name)
            yield f"{package}.{name}", thing
            if inspect.isclass(thing) and thing.__module__.split(".")[0] in ("edge", "export", "mest"):
                yield from members(f"{package}.{name}", thing)


def members(name: str, kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class, inherited ones of ours among them."""
    for base in kind.__mro__:
        if base.__module__.split(".")[0] not in ("edge", "export", "mest"):
            continue
        for member, thing in sorted(vars(base).items()):
            plain = thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
            called = inspect.isfunction(plain) or isinstance(plain, property)
            if called and not member.startswith("_") and _home(kind, member) is base:
                yield f"{name}.{member}", plain


def _home(kind: type, member: str) -> type:
    return next(base for base in kind.__mro__ if member in vars(base))


def line(name: str, thing: Any) -> str:
    """One line of the list."""
    if isinstance(thing, property):
        return f"{name}: {inspect.signature(thing.fget).return_annotation}"
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return f"{name} (exception of {thing.__base__.__name__}, exit code {getattr(thing, 'exit_code', None)})"
    if inspect.isclass(thing) and inspect.isabstract(thing):
        return f"{name} (abstract: {', '.join(sorted(thing.__abstractmethods__))})"
    if name in RETURNED:
        return f"{name} (returned, not made)"
    if callable(thing):
        return ADDRESS.sub("...", f"{name}{inspect.signature(thing)}")
    return f"{name}: {type(thing).__name__}"


def surface() -> list[str]:
    """The list as it is now."""
    return [line(name, thing) for name, thing in offered()]


def test_the_public_surface_is_as_listed() -> None:
    """A name, a parameter or a default that comes, goes or changes is written down, and so decided on."""
    now, listed = surface(), LISTED.read_text(encoding="utf-8").splitlines()
    changed = [f"- {text}" for text in listed if text not in now] + [f"+ {text}" for text in now if text not in listed]
    assert not changed, "run python tests/test_public_surface.py if this is wanted:\n" + "\n".join(changed)
    assert now == listed


CALLABLES = [(name, thing) for name, thing in offered() if callable(thing) or isinstance(thing, property)]


@pytest.mark.parametrize(("name", "thing"), CALLABLES, ids=[name for name, _ in CALLABLES])
def test_public_names_are_described_and_typed(name: str, thing: Any) -> None:
    """A docstring of its own, and a type for each parameter and for what comes back."""
    assert inspect.getdoc(thing), f"{name} has no docstring"
    function = thing.fget if isinstance(thing, property) else thing
    if inspect.isclass(function) and issubclass(function, BaseException):
        return
    signature = inspect.signature(function)
    bare = [
        each.name for each in signature.parameters.values() if each.annotation is each.empty and each.name != "self"
    ]
    assert not set(bare) - {"cls"}, f"{name}: no type for {bare}"
    if not inspect.isclass(function):
        assert signature.return_annotation is not signature.empty, f"{name}: no type for what comes back"


def test_whatever_documentation_and_examples_import_is_public() -> None:
    """A reader who copies a line from the pages or from examples/ stands on nothing that may move."""
    pages = [
        ROOT / "README.md",
        ROOT / "pkl" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "examples").rglob("*.py")),
    ]
    imported = [(page, *found) for page in pages for found in IMPORT.findall(page.read_text(encoding="utf-8"))]
    assert len(imported) > 10
    for page, module, names, plain in imported:
        assert (module or plain) in PACKAGES, f"{page.name} imports {module or plain}"
        for name in filter(None, re.split(r"[\s,()]+", names.partition("#")[0])):
            assert name in importlib.import_module(module).__all__, f"{page.name} imports {module}.{name}"


def test_the_page_lists_every_name() -> None:
    """docs/python-api.md names what each package offers."""
    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    missing = [
        f"{package}.{name}"
        for package in PACKAGES
        for name in importlib.import_module(package).__all__
        if f"`{name}`" not in page
    ]
    assert not missing


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    LISTED.write_text("\n".join(surface()) + "\n", encoding="utf-8")
