"""What one look at a model's passes says: what it never reads, what training never moves, where the modes differ.

Export captures the evaluation pass and trains that on a board. So whatever a model does in training alone is found
here, where it can still be said before the first step: frozen parameters and batch norms (which export keeps frozen),
layers that no pass reads (which stay dense), and departures (which export refuses).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mest.models.chance import without_chance

Norm = nn.modules.batchnorm._BatchNorm
# Passes of the same arithmetic differ by rounding alone; anything that a model means is far more.
SHARE = 1e-3
ALIKE = "a board trains what the model computes in evaluation, so let both be the same"


class OutputError(TypeError):
    """A training pass gives something else than logits."""


@dataclass(frozen=True)
class Probe:
    """Parameter names are all those that a parameter has, modules their first path.

    `unread`: parameters that evaluation never uses. `still`: those that a training step never moves, frozen or without
    a gradient. `still_norms`: batch norms that keep to their running statistics while training. `departures`: what else
    training does otherwise than evaluation, one sentence each with the module.
    """

    unread: frozenset[str] = frozenset()
    still: frozenset[str] = frozenset()
    still_norms: frozenset[str] = frozenset()
    departures: tuple[str, ...] = ()


def probe(model: nn.Module, shape: tuple[int, ...]) -> Probe:
    """Look at one evaluation and one training pass over two images of noise, each with its gradients.

    The model is left as it was: weights, statistics, gradients, modes. Raises what its forward raises.
    """
    names: dict[str, list[str]] = {}
    parameters: dict[int, nn.Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(str(id(parameter)), []).append(name)
        parameters[id(parameter)] = parameter
    departures = [f"{path}: {problem}" for path, problem in _odd_norms(model)]
    with _undone(model), torch.random.fork_rng(devices=[]), eager():
        device = next(iter(parameters.values())).device if parameters else torch.device("cpu")
        images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).to(device)
        meant = {key: parameter.requires_grad for key, parameter in parameters.items()}
        for parameter in parameters.values():
            parameter.requires_grad_(parameter.is_floating_point())
        model.eval()
        evaluated = _pass(model, images, _Attached())
        for key, parameter in parameters.items():
            parameter.requires_grad_(meant[key])
        model.train()
        norms = [(path, module) for path, module in model.named_modules() if isinstance(module, Norm)]
        still_norms = frozenset(path for path, norm in norms if not norm.training and norm.track_running_stats)
        for _, norm in norms:
            norm.eval()
        trained = _pass(model, images, nullcontext(), _drawing(model, images))
    departures += [f"{place or 'the model'} {what}; {ALIKE}" for place, what in dict.fromkeys(trained.chance)]
    differs = not _close(trained.logits, evaluated.logits)
    if differs and not trained.chance:
        departures.append(f"{_first_difference(evaluated, trained)}; {ALIKE}")
    moved = {key: gradient for key, gradient in trained.gradients.items() if gradient is not None}
    if not differs and not trained.chance:
        odd = [key for key, gradient in moved.items() if not _close(gradient, evaluated.gradients[key])]
        if odd:
            first = names[str(odd[0])][0]
            place = (trained.cut[0] or "the model") if trained.cut else "the model"
            departures.append(
                f"{first}: its gradient is not that of the forward pass (detach, no_grad or a backward pass of its own "
                f"in {place}); {ALIKE}"
            )
    read = {key for key, gradient in evaluated.gradients.items() if gradient is not None}
    return Probe(
        frozenset(name for key in parameters.keys() - read for name in names[str(key)]),
        frozenset(name for key in parameters.keys() - moved.keys() for name in names[str(key)]),
        still_norms,
        tuple(departures),
    )


def eager() -> AbstractContextManager[None]:
    """A context in which compiled modules run as they were written."""
    stance = getattr(torch.compiler, "set_stance", None)
    return stance("force_eager") if stance else nullcontext()


def logits_of(output: Any) -> Tensor:
    """The main logits of a training pass, which may give auxiliary ones after them; raises OutputError otherwise."""
    return all_logits_of(output)[0]


def all_logits_of(output: Any) -> tuple[Tensor, ...]:
    """Logits as a training pass gives them: alone, or followed by those of auxiliary classifiers; else
    OutputError."""
    if isinstance(output, Tensor):
        return (output,)
    if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
        rest = tuple(other for other in output[1:] if other is not None)
        if all(isinstance(other, Tensor) and other.shape == output[0].shape for other in rest):
            return (output[0], *rest)
    raise OutputError(f"gives {type(output).__name__} while training")


@dataclass(frozen=True)
class _Seen:
    """What a module was given and gave, each as a few numbers; `path` as in the model."""

    path: str
    given: tuple[float, ...]
    gave: tuple[float, ...]


@dataclass(frozen=True)
class _Pass:
    logits: Tensor
    gradients: dict[int, Tensor | None]
    modules: list[_Seen]
    chance: list[tuple[str, str]]
    cut: list[str]


def _drawing(model: nn.Module, images: Tensor) -> set[nn.Module]:
    """The modules in which the pass draws random numbers, dropout aside; buffers are left as they were."""
    held = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    with torch.no_grad():
        found = _pass(model, images, nullcontext()).chance
        for buffer, before in held:
            buffer.copy_(before)
    modules = dict(model.named_modules())
    return {modules[path] for path, _ in found}


def _pass(model: nn.Module, images: Tensor, mode: Any, drawing: Container[nn.Module] = ()) -> _Pass:
    """One pass without the dropout that is left out everywhere, and the gradients of a sum over its logits.

    Chance in the modules that are `drawing` is left out, if it is all that they consist of.
    """
    where: list[str] = []
    seen: list[_Seen] = []
    given: list[tuple[float, ...]] = []
    chance, watch = _Chance(where), _Watch(where)

    def enter(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            where.append(path)
            given.append(_numbers(inputs))

        return hook

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.append(_Seen(where.pop(), given.pop(), _numbers(output)))

    hooks = []
    for path, module in model.named_modules():
        hooks += [module.register_forward_pre_hook(enter(path)), module.register_forward_hook(leave)]
    try:
        with without_chance(model, drawing), chance, watch, mode:
            logits = logits_of(model(images.clone()))
            weights = torch.linspace(0.5, 1.5, logits.numel(), device=logits.device).view_as(logits)
        if logits.requires_grad:
            (logits * weights).sum().backward()
    finally:
        for hook in hooks:
            hook.remove()
    gradients = {}
    for parameter in model.parameters():
        gradients[id(parameter)] = None if parameter.grad is None else parameter.grad.clone()
        parameter.grad = None
    return _Pass(logits.detach(), gradients, seen, chance.found, watch.found)


class _Chance(TorchDispatchMode):
    """Notes every operator that draws random numbers, and the module that it is called in."""

    def __init__(self, where: list[str]) -> None:
        super().__init__()
        self.where, self.found = where, list[tuple[str, str]]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **(kwargs or {}))
        before = _generators()
        result = func(*args, **(kwargs or {}))
        if any(not torch.equal(old, new) for old, new in zip(before, _generators(), strict=True)):
            name = str(func).removeprefix("aten.").partition(".")[0]
            self.found.append((self.where[-1] if self.where else "", f"draws random numbers while training ({name})"))
        return result


def _generators() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else ())]


class _Watch(TorchFunctionMode):
    """Notes the modules in which a gradient is cut off."""

    def __init__(self, where: list[str]) -> None:
        super().__init__()
        self.where, self.found = where, list[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not torch.is_grad_enabled() or func in (Tensor.detach, Tensor.detach_):
            self.found.append(self.where[-1] if self.where else "")
        return func(*args, **(kwargs or {}))


class _Attached(TorchFunctionMode):
    """Computes with every gradient, as a captured graph does, whatever the model cuts off."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.detach, Tensor.detach_):
            return args[0]
        with torch.enable_grad():
            return func(*args, **(kwargs or {}))


def _odd_norms(model: nn.Module) -> Iterator[tuple[str, str]]:
    for path, module in model.named_modules():
        if isinstance(module, Norm) and (module.momentum is None or not module.track_running_stats):
            yield (
                path,
                (
                    "batch norm without running statistics or with momentum=None cannot be exported; give it a "
                    "momentum and track_running_stats=True"
                ),
            )


def _first_difference(evaluated: _Pass, trained: _Pass) -> str:
    """Where the two passes part: the first module, in the order in which they end, that makes another of the same."""
    place = ""
    for before, after in zip(evaluated.modules, trained.modules, strict=False):
        if before.path != after.path or before.given != after.given:
            place = before.path.rpartition(".")[0]
            break
        if before.gave != after.gave:
            place = before.path
            break
    return f"{place or 'the model'} computes something else while training than in evaluation"


def _numbers(value: Any) -> tuple[float, ...]:
    """A few numbers that tell tensors apart: rounded sums of the first one, and of its absolute values."""
    if isinstance(value, tuple) and value:
        return _numbers(value[0])
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return ()
    with torch._C.DisableTorchFunction():  # the modes that are being watched are no matter of ours
        parts = value.detach().double(), value.detach().double().abs()
        return tuple(float(f"{float(part.sum()):.4g}") for part in parts)


def _close(found: Tensor, wanted: Tensor | None) -> bool:
    if wanted is None or found.shape != wanted.shape:
        return False
    scale = float(wanted.abs().max()) if wanted.numel() else 0.0
    return bool(((found - wanted).abs() <= SHARE * scale + 1e-12).all())


@contextmanager
def _undone(model: nn.Module) -> Iterator[None]:
    """Put weights, buffers, gradients, their flags and modes back as they were."""
    modes = [(module, module.training) for module in model.modules()]
    held = [(tensor, tensor.detach().clone()) for tensor in (*model.parameters(), *model.buffers())]
    flags = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter, _, _ in flags:
            parameter.grad = None
        yield
    finally:
        with torch.no_grad():
            for tensor, before in held:
                tensor.copy_(before)
        for parameter, flag, gradient in flags:
            parameter.requires_grad_(flag)
            parameter.grad = gradient
        for module, training in modes:
            module.training = training
