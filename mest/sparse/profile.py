"""Layer profiles: which parameters are sparse, and how much. YAML on disk, a frozen value in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mest.errors import InputError
from mest.packaged import resolve_packaged
from mest.sparse.decimals import check_sparsity

_KEYS = ("prune_ratios", "schemes")


@dataclass(frozen=True)
class Profile:
    """Weight sparsity by parameter name. `schemes` names another scheme for single parameters; it is ours."""

    prune_ratios: dict[str, float]
    schemes: dict[str, str] = field(default_factory=dict)
    source: str = "profile"


def read_profile(path: str | Path) -> Profile:
    """The profile in a YAML file, found by its path in the repository too.

    Raises InputError with everything that is wrong with the file itself; whether it fits a model is found by
    `select_targets`.
    """
    file = resolve_packaged(path)
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as reason:
        raise InputError(f"{path}: not a readable YAML profile: {' '.join(str(reason).split())}") from None
    return make_profile(content, str(path))


def make_profile(content: object, source: str = "profile") -> Profile:
    """The profile in a parsed YAML document or a mapping of the same form, or of names to ratios alone."""
    if isinstance(content, Mapping) and content and not any(key in _KEYS for key in content):
        numbers = all(isinstance(value, int | float) for value in content.values())
        content = {"prune_ratios": content} if numbers else content
    if not isinstance(content, Mapping) or not isinstance(content.get("prune_ratios"), Mapping):
        raise InputError(f"{source}: needs the key 'prune_ratios' with parameter names and their weight sparsities")
    problems = [f"unknown key {key!r} (allowed: {', '.join(_KEYS)})" for key in content if key not in _KEYS]
    ratios: dict[str, float] = {}
    for name, ratio in content["prune_ratios"].items():
        try:
            if isinstance(ratio, bool) or not isinstance(ratio, int | float):
                raise InputError(f"{name}: {ratio!r} is not a number; give a weight sparsity such as 0.9")
            check_sparsity(ratio, str(name))
            ratios[str(name)] = float(ratio)
        except InputError as problem:
            problems.append(str(problem))
    schemes = content.get("schemes") or {}
    if not isinstance(schemes, Mapping):
        raise InputError(f"{source}: 'schemes' must map parameter names to scheme names")
    problems += [f"schemes: {name} is not among the prune_ratios" for name in schemes if name not in ratios]
    if not ratios and not problems:
        problems = ["'prune_ratios' names no parameter"]
    if problems:
        raise InputError(f"{source}: {'; '.join(problems)}")
    return Profile(ratios, {str(name): str(scheme) for name, scheme in schemes.items()}, source)


class _UniqueKeys(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """The mapping, its keys unique."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        doubled = [key for index, key in enumerate(keys) if key in keys[:index]]
        if doubled:
            raise yaml.constructor.ConstructorError(None, None, f"key {doubled[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)
