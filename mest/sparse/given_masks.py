"""Masks that another program chose: what a pruned model, a dictionary or a returned state says is kept."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from mest.errors import InputError
from mest.sparse.decimals import exact
from mest.sparse.layers import Selection, Target, bare, layers_of, shape_problem
from mest.sparse.schemes.scheme import Scheme, parse_scheme

#: a layer with fewer zeros is taken for dense: weights that were stored in half precision have a few by chance
LEAST_ZERO_SHARE = 0.01


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    """Bool masks by weight name of every layer that is pruned already, True where a weight is kept.

    A layer under `torch.nn.utils.prune` has the mask that it holds; any other convolution or linear layer keeps what
    is not zero, if at least one weight in a hundred is zero and not all of them are.
    """
    model = bare(model)
    masks = {
        f"{path}.weight".removeprefix("."): module.get_buffer("weight_mask").bool() for path, module in _pruned(model)
    }
    for layer in layers_of(model):
        if layer.name in masks:
            continue
        kept = _weight(model, layer.name).detach() != 0
        zeros = kept.numel() - int(kept.count_nonzero())
        if LEAST_ZERO_SHARE * kept.numel() <= zeros < kept.numel():
            masks[layer.name] = kept
    return masks


def check_masks(model: nn.Module, masks: Mapping[str, object]) -> dict[str, Tensor]:
    """The masks as bool tensors by weight name, on the weights' devices; tensors, arrays and nested lists are taken.

    Names may be those of weights, of their layers, or of the buffers of `torch.nn.utils.prune`, whose weights must be
    `made_permanent` before. Raises InputError with every name that the model does not have and every mask that does
    not fit.
    """
    model = bare(model)
    known = {layer.name: layer for layer in layers_of(model)}
    problems, checked = [], {}
    for given, content in masks.items():
        name = _weight_name(str(given), known)
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f", nearest: {close[0]}" if close else ""
            problems.append(f"{given}: the model has no convolution or linear weight of this name{hint}")
            continue
        weight = _weight(model, name)
        mask = torch.as_tensor(np.asarray(content) if isinstance(content, list | tuple) else content)
        if tuple(mask.shape) != known[name].shape:
            problems.append(f"{given}: a mask of {tuple(mask.shape)} for a weight of {known[name].shape}")
        elif not bool(((mask == 0) | (mask == 1)).all()):
            problems.append(f"{given}: a mask has 1 where a weight is kept and 0 elsewhere; this one has other values")
        elif not bool(mask.any()):
            problems.append(f"{given}: the mask keeps no weight at all; leave the layer out")
        else:
            checked[name] = mask.to(weight.device, torch.bool)
    if problems:
        raise InputError(f"masks: {'; '.join(problems)}")
    return checked


def targets_of(model: nn.Module, masks: Mapping[str, Tensor], scheme: str | Scheme = "irregular") -> Selection:
    """The sparse layers that checked masks make, each with the sparsity of its mask; the others stay dense.

    Raises InputError for every mask that is not of whole units of the scheme, and where no mask has a zero.
    """
    form = parse_scheme(scheme)
    targets, dense, problems = {}, {}, []
    for layer in layers_of(model):
        mask = masks.get(layer.name)
        if mask is None or bool(mask.all()):
            dense[layer.name] = "no mask is given for it" if mask is None else "its mask keeps every weight"
        elif problem := shape_problem(layer, form):
            problems.append(f"{layer.name}: {problem}")
        elif not of_whole_units(form, mask):
            problems.append(f"{layer.name}: its mask is not made of whole units of scheme {form}; use scheme irregular")
        else:
            targets[layer.name] = Target(layer.name, sparsity_of(form, mask), form)
    if not targets and not problems:
        problems.append("no mask has a zero, so no layer is sparse; give a sparsity or a profile instead")
    if problems:
        raise InputError(f"masks: {'; '.join(problems)}")
    return Selection(targets, dense)


def of_whole_units(scheme: Scheme, mask: Tensor) -> bool:
    """True if a mask has what the scheme's living units hold, and nothing less."""
    alive = scheme.alive(mask)
    whole = int(alive.count_nonzero()) * scheme.unit_weights(tuple(mask.shape))
    return int(mask.count_nonzero()) == whole and not bool((mask & ~scheme.expand(alive, tuple(mask.shape))).any())


def sparsity_of(scheme: Scheme, mask: Tensor) -> float:
    """The weight sparsity at which `kept_units` gives exactly the units that the mask has.

    Counts are taken from the decimal that a float prints as, rounded down: the largest float that prints as no more
    than the true share loses no unit.
    """
    kept = int(scheme.alive(mask).count_nonzero()) * scheme.unit_weights(tuple(mask.shape))
    share = 1 - Fraction(kept, mask.numel())
    below = float(share)
    while exact(below) > share:
        below = math.nextafter(below, 0.0)
    return below


@contextmanager
def made_permanent(model: nn.Module) -> Iterator[None]:
    """Weights under `torch.nn.utils.prune` become plain parameters, the same objects, zero where they were pruned.

    If the block raises, the model is given back as it was.
    """
    undo = []
    for _, module in _pruned(bare(model)):
        mask, weight = module.get_buffer("weight_mask"), module.get_parameter("weight_orig")
        undo.append((module, mask.clone(), weight.detach().clone()))
        prune.remove(module, "weight")
    try:
        yield
    except BaseException:
        for module, mask, original in undo:
            with torch.no_grad():
                module.get_parameter("weight").copy_(original)
            prune.custom_from_mask(module, "weight", mask)
        raise


def _pruned(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules whose weight `torch.nn.utils.prune` computes, by path."""
    return [
        (path, module)
        for path, module in model.named_modules()
        if "weight_mask" in module._buffers and "weight_orig" in module._parameters
    ]


def _weight(model: nn.Module, name: str) -> Tensor:
    path, _, attribute = name.rpartition(".")
    weight: Tensor = getattr(model.get_submodule(path), attribute)
    return weight


def _weight_name(given: str, known: Mapping[str, object]) -> str:
    """A mask's name as its weight's."""
    name = given.removeprefix("module.").removeprefix("_orig_mod.").removesuffix("_mask")
    return f"{name}.weight" if f"{name}.weight" in known else name
