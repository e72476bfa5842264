"""The sparse layers of a model that no run describes: by masks, or by nothing but its zeros."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from export.source import sparse_layer
from export.sparse_layer import SparseLayer
from mest.errors import InputError
from mest.sparse import Scheme
from mest.sparse.given_masks import check_masks, targets_of

if TYPE_CHECKING:  # live models and masks pass through here; nothing of torch is called by name
    from torch import Tensor, nn


def layers_of_masks(module: nn.Module, masks: Mapping[str, object], scheme: str) -> dict[str, SparseLayer]:
    """Sparse layers by weight name from masks of one scheme; none of no masks.

    Raises InputError for masks that do not fit the model or the scheme.
    """
    checked = check_masks(module, masks)
    targets = targets_of(module, checked, scheme) if checked else {}
    return checked_layers(
        module, ((name, target.scheme, target.weight_sparsity) for name, target in targets.items()), checked
    )


def checked_layers(
    module: nn.Module, described: Iterable[tuple[str, Scheme, float]], masks: Mapping[str, Tensor]
) -> dict[str, SparseLayer]:
    """Sparse layers by weight name from name, scheme and target of each.

    Raises InputError where a weight outside its mask is not zero: the artifact would compute something else.
    """
    layers, problems = {}, []
    for name, form, target in described:
        path, _, attribute = name.rpartition(".")
        weight, mask = getattr(module.get_submodule(path), attribute).detach(), masks[name]
        if bool(weight[~mask.to(weight.device)].any()):
            problems.append(f"{name}: weights outside its mask are not zero")
        layers[name] = sparse_layer(name, form.name, getattr(form, "height", None), target, mask.cpu().numpy())
    if problems:
        raise InputError(f"{'; '.join(problems)}; give the weights that belong to the masks")
    return layers
