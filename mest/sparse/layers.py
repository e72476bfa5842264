"""Which layers of a model are sparse, each with its scheme and its target."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import nn

from mest.errors import InputError
from mest.sparse.classifier import classifiers, within
from mest.sparse.decimals import Number, check_sparsity, exact, weights_of
from mest.sparse.distribution import erk_sparsities
from mest.sparse.parameters import bare, is_transposed, outsiders, owned_parameters, weight_dimensions, weight_problem
from mest.sparse.profile import Profile, make_profile, read_profile
from mest.sparse.schemes.scheme import Scheme, is_depthwise, parse_scheme

Distribution = Literal["uniform", "erk"]

__all__ = [
    "Distribution",
    "Layer",
    "Selection",
    "Target",
    "bare",
    "layer_problem",
    "layers_of",
    "select_targets",
    "shape_problem",
]

#: parts of a module's name that mark a shortcut
_SHORTCUT_NAMES = ("shortcut", "downsample", "skip")


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer, by the name of its weight: shape `(out, in/groups, kh, kw)` or `(out, in)`.

    That of a transposed convolution is `(in, out/groups, kh, kw)`.
    """

    name: str
    shape: tuple[int, ...]
    groups: int = 1
    stride: tuple[int, ...] = ()
    #: True for a weight that is not trained (requires_grad is False)
    frozen: bool = False
    #: another parameter name of the same weight, outside convolutions and linear layers: an embedding's, say
    shared: str | None = None
    #: why the weight can hold no mask, whatever the scheme
    obstacle: str | None = None
    #: True for a transposed convolution
    transposed: bool = False

    @property
    def is_convolution(self) -> bool:
        """True for a convolution, False for a linear layer."""
        return len(self.shape) > 2

    @property
    def weights(self) -> int:
        """Number of weights."""
        return weights_of(self.shape)

    @property
    def is_shortcut(self) -> bool:
        """True for a 1×1 convolution beside the main path.

        It is one if a part of its name says so (shortcut, downsample, skip) or if it has a stride: a 1×1 convolution
        that skips pixels throws data away, which only shortcuts do. Those of mobilenet_v2 are neither.
        """
        pointwise = self.is_convolution and set(self.shape[2:]) == {1}
        named = any(word in part for part in self.name.lower().split(".") for word in _SHORTCUT_NAMES)
        return pointwise and (named or max(self.stride) > 1)


@dataclass(frozen=True)
class Target:
    """The weight sparsity that a layer ends at, and the shape of its zeros."""

    name: str
    weight_sparsity: float
    scheme: Scheme


@dataclass(frozen=True)
class Selection(Mapping[str, Target]):
    """Targets by parameter name, in module order, and the layers that stay `dense`, each with the reason."""

    targets: dict[str, Target]
    dense: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Target:
        return self.targets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)


def layers_of(model: nn.Module) -> tuple[Layer, ...]:
    """All convolution and linear layers of a model in module order; a weight that two of them share counts once.

    A layer whose weight is computed from other parameters (weight_norm, spectral_norm) is none of them.
    Raises InputError for a lazy layer that has no shape yet.
    """
    layers: dict[int, tuple[str, nn.Module, nn.Parameter]] = {}
    elsewhere: dict[int, str] = {}
    for name, module, own, parameter in owned_parameters(model):
        if own == "weight" and weight_dimensions(module):
            layers.setdefault(id(parameter), (name, module, parameter))
        else:
            elsewhere.setdefault(id(parameter), name)
    return tuple(
        Layer(
            name=name,
            shape=tuple(weight.shape),
            groups=getattr(module, "groups", 1),
            stride=tuple(getattr(module, "stride", ())),
            frozen=not weight.requires_grad,
            shared=elsewhere.get(key),
            obstacle=weight_problem(module, weight),
            transposed=is_transposed(module),
        )
        for key, (name, module, weight) in layers.items()
    )


def select_targets(
    model: nn.Module,
    scheme: str | Scheme,
    *,
    profile: str | Path | Profile | Mapping[str, object] | None = None,
    sparsity: Number | None = None,
    distribution: str = "uniform",
    classifier: str | Sequence[str] | None = None,
    dense: str | Sequence[str] = (),
) -> Selection:
    """The sparse layers with their targets, by a profile or by one sparsity for the whole model.

    Without a profile every convolution and linear layer is sparse but the first convolution, 1×1 shortcuts, depthwise
    convolutions, the classifier, frozen layers, weights shared with an embedding, and what the scheme cannot take.
    `classifier` names the layers to be taken for the classifier, by weight or by module; None takes what is called a
    head or classifier, else the last linear layer, or the last convolution where there is none. `dense` names others
    that stay dense. With a profile, a layer that the scheme cannot take is an error; 0 keeps a layer dense.
    Every parameter of two or more dimensions is a target or among the selection's `dense`.

    Raises InputError with all problems at once.
    """
    scheme = parse_scheme(scheme)
    layers = layers_of(model)
    if (profile is None) == (sparsity is None):
        raise InputError("give either a profile or a sparsity, such as 0.9, to say which layers are sparse")
    if profile is not None:
        if isinstance(profile, str | Path):
            profile = read_profile(profile)
        elif not isinstance(profile, Profile):
            profile = make_profile(profile)
        if classifier is not None or dense:
            raise InputError(
                f"{profile.source}: a profile says which layers stay dense; leave classifier and dense out"
            )
        return _by_profile(layers, outsiders(model), scheme, profile)
    assert sparsity is not None
    kept = _kept_dense(layers, classifier, dense)
    return _by_sparsity(layers, kept, outsiders(model), scheme, sparsity, distribution)


def _by_profile(layers: tuple[Layer, ...], outside: dict[str, str], scheme: Scheme, profile: Profile) -> Selection:
    known = {layer.name: layer for layer in layers}
    ratios = {_plain(name): ratio for name, ratio in profile.prune_ratios.items()}
    schemes = {_plain(name): own for name, own in profile.schemes.items()}
    problems, targets = [], {}
    for name in ratios:
        if parts := {part: reason for part, reason in outside.items() if part == name or _of_layer(part, name)}:
            problems.append("; ".join(f"{part}: {reason}" for part, reason in parts.items()))
        elif name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f", nearest: {close[0]}" if close else ""
            problems.append(f"{name}: the model has no convolution or linear weight of this name{hint}")
    for layer in layers:
        ratio = ratios.get(layer.name, 0)
        if not ratio:
            continue
        try:
            own = parse_scheme(schemes[layer.name]) if layer.name in schemes else scheme
        except InputError as problem:
            problems.append(f"{layer.name}: {problem}")
            continue
        found = layer_problem(layer, own, ratio)
        problems += [f"{layer.name}: {found}"] if found else []
        targets[layer.name] = Target(layer.name, float(ratio), own)
    if not targets and not problems:
        problems.append("every ratio is 0, so no layer is sparse; use method dense for that")
    if problems:
        raise InputError(f"{profile.source}: {'; '.join(problems)}")
    return Selection(targets, {name: "not in the profile" for name in known if name not in targets} | outside)


def _of_layer(part: str, weight: str) -> bool:
    """True if the layer whose weight was asked for has it in parts, of which this is one."""
    layer, _, own = weight.rpartition(".")
    return own == "weight" and part.startswith((f"{layer}.weight_", f"{layer}.parametrizations.weight."))


def _plain(name: str) -> str:
    """A parameter name without the prefix that a data-parallel wrapper adds, as in some published profiles."""
    return name.removeprefix("module.")


def _by_sparsity(
    layers: tuple[Layer, ...],
    kept_dense: dict[str, str],
    outside: dict[str, str],
    scheme: Scheme,
    sparsity: Number,
    distribution: str,
) -> Selection:
    check_sparsity(sparsity, "sparsity")
    if not exact(sparsity):
        raise InputError("sparsity 0 leaves nothing sparse; give more than 0, such as 0.9, or use method dense")
    if distribution not in ("uniform", "erk"):
        raise InputError(f"unknown distribution {distribution!r}; known: uniform, erk")
    if below := _too_dense(scheme, sparsity):
        raise InputError(below)
    dense = dict(kept_dense)
    for layer in layers:
        if layer.name not in dense and (problem := shape_problem(layer, scheme)):
            dense[layer.name] = problem
    chosen = {layer.name: layer for layer in layers if layer.name not in dense}
    if not chosen:
        reasons = (
            "; ".join(f"{name}: {reason}" for name, reason in (dense | outside).items()) or "it has no such layers"
        )
        raise InputError(f"no layer of this model can be sparse with scheme {scheme}: {reasons}")
    if distribution == "uniform":
        shares = dict.fromkeys(chosen, float(exact(sparsity)))
    else:
        shares = erk_sparsities({name: layer.shape for name, layer in chosen.items()}, exact(sparsity), scheme.densest)
        dense |= {name: "the distribution keeps all of it" for name, share in shares.items() if not share}
    targets = {name: Target(name, share, scheme) for name, share in shares.items() if share}
    named = [name for layer in layers for name in (layer.name, layer.shared) if name in dense]
    return Selection(targets, {name: dense[name] for name in named if name is not None} | outside)


def _kept_dense(
    layers: tuple[Layer, ...], classifier: str | Sequence[str] | None, asked: str | Sequence[str]
) -> dict[str, str]:
    """The layers that stay dense whatever the scheme, with the reason."""
    plain = [layer for layer in layers if not layer.obstacle]
    convolutions = [layer for layer in plain if layer.is_convolution]
    dense = {layer.name: "a depthwise convolution" for layer in plain if is_depthwise(layer.shape, layer.groups)}
    dense |= {layer.name: "a shortcut" for layer in plain if layer.is_shortcut}
    dense |= classifiers(plain) if classifier is None else within(layers, classifier, "the classifier")
    dense |= {layer.name: "the first convolution" for layer in convolutions[:1]}
    for layer in layers:
        if layer.shared:
            dense |= {layer.name: f"shared with {layer.shared}", layer.shared: f"shared with {layer.name}"}
    dense |= {layer.name: "frozen (requires_grad is False)" for layer in layers if layer.frozen}
    return dense | within(layers, asked, "asked to stay dense")


def layer_problem(layer: Layer, scheme: Scheme, ratio: Number) -> str | None:
    """Why a layer cannot have this sparsity in this scheme and what to do, without its name; None if it can."""
    return shape_problem(layer, scheme) or _too_dense(scheme, ratio)


def shape_problem(layer: Layer, scheme: Scheme) -> str | None:
    """Why a layer cannot have zeros of this shape at all."""
    if layer.transposed and not scheme.takes_transposed:
        return f"a transposed convolution, which scheme {scheme} is not for; use scheme irregular for this layer"
    return layer.obstacle or scheme.problem(layer.shape, layer.groups)


def _too_dense(scheme: Scheme, sparsity: Number) -> str | None:
    if exact(sparsity) >= scheme.densest:
        return None
    least = f"{scheme.densest} ({float(scheme.densest):.4f})"
    return f"sparsity {sparsity}: scheme {scheme} cannot be below {least}; give more, or use scheme irregular"
