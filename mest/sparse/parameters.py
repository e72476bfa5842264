"""The parameters of a model as modules hold them, and why one cannot be sparse or stays dense."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

from mest.errors import InputError

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = {nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5} | dict(zip(_TRANSPOSED, (3, 4, 5), strict=True))
_SHARDING = ("FullyShardedDataParallel", "FSDPModule")
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def bare(model: nn.Module) -> nn.Module:
    """The model itself, out of DistributedDataParallel, DataParallel, AveragedModel and torch.compile."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel | AveragedModel):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        else:
            return model


def sharding(model: nn.Module) -> str | None:
    """Why a model whose parameters are cut up over processes cannot be sparse; None if they are whole.

    FSDP is known by its classes' names: importing them would cost every program that has none of it.
    """
    kinds = {f"{kind.__module__}.{kind.__name__}" for module in model.modules() for kind in type(module).__mro__}
    if not any(kind.startswith("torch.distributed.") and kind.rpartition(".")[2] in _SHARDING for kind in kinds):
        return None
    return (
        "the model is sharded by FSDP, and a mask needs the whole weight: part of a layer can be neither ranked nor"
        " counted; use DistributedDataParallel, where every process holds whole weights"
    )


def weight_dimensions(module: nn.Module) -> int:
    """Dimensions of the weight of a convolution (3 to 5) or linear layer (2); 0 for every other module."""
    if isinstance(module, nn.Linear):
        return 2
    return next((dimensions for kind, dimensions in _CONVOLUTIONS.items() if isinstance(module, kind)), 0)


def is_transposed(module: nn.Module) -> bool:
    """True for a transposed convolution, whose weight has its input channels first."""
    return isinstance(module, _TRANSPOSED)


def owned_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    """Every parameter where a module holds it, in module order: full name, module, name in it, the parameter.

    A parameter that several modules share comes once for each. Raises InputError for one without a shape as yet, and
    for a sharded model.
    """
    if problem := sharding(model):
        raise InputError(problem)
    for prefix, module in bare(model).named_modules():
        for own, parameter in module._parameters.items():
            if parameter is None:
                continue
            name = f"{prefix}.{own}" if prefix else own
            if is_lazy(parameter):
                raise InputError(
                    f"{name}: a lazy layer that has no shape yet; run one batch through the model before it is made"
                    " sparse"
                )
            yield name, module, own, parameter


def weight_problem(module: nn.Module, weight: nn.Parameter) -> str | None:
    """Why the weight of a convolution or linear layer can hold no mask, without its name; None if it can."""
    if type(weight.data) is not Tensor or weight.layout is not torch.strided:
        return f"it is a {type(weight.data).__name__} (sharded or quantized), not a plain tensor"
    if weight.is_meta:
        return "it is on the meta device, so it has no values to rank; load the model first"
    if weight.dtype not in _DTYPES:
        return (
            f"its numbers are {str(weight.dtype).removeprefix('torch.')}; float32, float64, float16 and bfloat16 can be"
        )
    if weight.dim() != weight_dimensions(module):
        return f"its shape {tuple(weight.shape)} is not that of a {type(module).__name__}; sharded parameters cannot be"
    return None


def outsiders(model: nn.Module) -> dict[str, str]:
    """The parameters of two or more dimensions that are no weight of a convolution or linear layer, with the reason.

    A shared parameter is named once, and not at all where one of its modules is such a layer.
    """
    found: dict[int, tuple[str, str]] = {}
    weights = set()
    for name, module, own, parameter in owned_parameters(model):
        if own == "weight" and weight_dimensions(module):
            weights.add(id(parameter))
        elif parameter.dim() > 1 and id(parameter) not in found:
            found[id(parameter)] = name, _outside(module, own)
    return dict(entry for key, entry in found.items() if key not in weights)


def reasons_for_the_rest(model: nn.Module, sparse: set[str], known: dict[str, str], otherwise: str) -> dict[str, str]:
    """Why each parameter of two or more dimensions stays dense, by name, beside those that are `sparse`.

    `known` are reasons found before; `otherwise` is said of the weights of layers that have none.
    """
    outside = outsiders(model)
    named: dict[int, str] = {}
    covered = set()
    for name, _, _, parameter in owned_parameters(model):
        if name in sparse or name in known:
            covered.add(id(parameter))
        elif parameter.dim() > 1:
            named.setdefault(id(parameter), name)
    return known | {name: outside.get(name, otherwise) for key, name in named.items() if key not in covered}


def _outside(module: nn.Module, own: str) -> str:
    if isinstance(module, nn.utils.parametrize.ParametrizationList):
        return "a part of a parametrized weight; remove the parametrization to make the weight sparse"
    if weight_dimensions(module) and own.startswith("weight_"):
        return "what its layer's weight is computed from (weight_norm, spectral_norm, prune); remove that first"
    for kinds, what in (
        (_RECURRENT, "a weight of a recurrent layer"),
        (nn.MultiheadAttention, "a projection inside MultiheadAttention"),
        (nn.Embedding | nn.EmbeddingBag, "an embedding"),
    ):
        if isinstance(module, kinds):
            return f"{what}; only convolutions and linear layers are made sparse"
    return f"a parameter of {type(module).__name__}; only convolutions and linear layers are made sparse"
