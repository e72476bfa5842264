"""Gradients are sparse from the moment that they exist, whoever looks at them; growth still gets the dense one."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from mest import Sparsifier, sparsify
from mest.errors import InputError

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 4, (64,), generator=torch.Generator().manual_seed(1))
OPTIONS: dict[str, Any] = {"scheme": "irregular", "sparsity": 0.8, "epochs": 8, "update_every_epochs": 2}


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def loss_of(model: nn.Module, rows: slice = slice(None)) -> Tensor:
    return nn.functional.cross_entropy(model(X[rows]), Y[rows])


def strays(sparsifier: Sparsifier) -> int:
    """Gradients outside the masks that are not zero."""
    return sum(
        int(sparsifier.model.get_parameter(name).grad[~mask].count_nonzero())  # type: ignore[index]
        for name, mask in sparsifier.masks.items()
    )


@pytest.mark.parametrize("method", ["static", "rigl"])
@pytest.mark.parametrize("to_none", [True, False])
def test_what_is_clipped_is_what_is_applied(method: str, to_none: bool) -> None:
    """After every backward pass of an accumulated step, in the epoch before a mutation too."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = sparsify(model, optimizer, method=method, **OPTIONS)
    for epoch in range(4):
        sparsifier.start_epoch(epoch)
        optimizer.zero_grad(set_to_none=to_none)
        for part in (slice(0, 32), slice(32, 64)):
            loss_of(model, part).backward()
            assert strays(sparsifier) == 0
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()


def test_rigl_gets_the_dense_gradient_of_the_whole_step() -> None:
    """Accumulated over backward passes, without what was thrown away, in the scale that is applied."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = sparsify(model, optimizer, method="rigl", **OPTIONS)
    sparsifier.start_epoch(1)
    plain = copy.deepcopy(model)
    ((loss_of(plain, slice(0, 32)) + loss_of(plain, slice(32, 64))) / 4).backward()
    (loss_of(model) * 100).backward()  # thrown away
    optimizer.zero_grad(set_to_none=False)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for part in (slice(0, 32), slice(32, 64)):
        scaler.scale(loss_of(model, part)).backward()
    scaler.unscale_(optimizer)
    for parameter in model.parameters():  # as a clipper would
        parameter.grad.mul_(0.25)  # type: ignore[union-attr]
    scaler.step(optimizer)
    kept = sparsifier.state_dict()["gradients"]
    for name, mask in sparsifier.masks.items():
        expected = plain.get_parameter(name).grad
        assert expected is not None
        assert bool(kept[name][~mask].any())
        assert torch.allclose(kept[name], expected, rtol=1e-4, atol=1e-7)


def test_a_backward_pass_that_fails_does_not_end_the_watch() -> None:
    """The next one is masked, and its dense gradient taken, as if nothing had been."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = sparsify(model, optimizer, method="rigl", **OPTIONS)
    sparsifier.start_epoch(1)

    def fail(gradient: Tensor) -> Tensor:
        raise ArithmeticError

    early = model[0](X)
    early.register_hook(fail)
    with pytest.raises(ArithmeticError):
        model[1:](early).sum().backward()
    optimizer.zero_grad()
    loss_of(model).backward()
    assert strays(sparsifier) == 0
    optimizer.step()
    assert all(bool(kept[~sparsifier.masks[name]].any()) for name, kept in sparsifier.state_dict()["gradients"].items())


def test_gradients_that_are_set_by_hand_are_masked_in_the_step() -> None:
    """No hook sees them come; RigL takes the dense gradient from them."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = sparsify(model, optimizer, method="rigl", **OPTIONS)
    sparsifier.start_epoch(1)
    for parameter, gradient in zip(
        model.parameters(), torch.autograd.grad(loss_of(model), list(model.parameters())), strict=True
    ):
        parameter.grad = gradient
    optimizer.step()
    assert sparsifier.zeros_kept
    assert strays(sparsifier) == 0
    assert sparsifier.start_epoch(2) is not None


@pytest.mark.filterwarnings("ignore:Using backward")
def test_a_graph_of_gradients_stays_differentiable() -> None:
    """With create_graph the masked gradient has a gradient of its own."""
    model = net()
    sparsifier = sparsify(model, torch.optim.SGD(model.parameters(), 0.1), method="static", **OPTIONS)
    sparsifier.start_epoch(0)
    loss_of(model).backward(create_graph=True)
    assert strays(sparsifier) == 0
    sum(parameter.grad.square().sum() for parameter in model.parameters()).backward()  # type: ignore[union-attr,misc]
    assert strays(sparsifier) == 0


def closure_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    return closure


def test_rigl_mutates_with_closures() -> None:
    """At 2 and 4, by the gradient of the closure and not of the batch before."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = sparsify(model, optimizer, method="rigl", **OPTIONS)
    mutated = []
    for epoch in range(8):
        mutated.append(sparsifier.start_epoch(epoch) is not None)
        plain = copy.deepcopy(model)
        optimizer.step(closure_of(model, optimizer))  # type: ignore[arg-type]
        if epoch == 1:
            loss_of(plain).backward()
            kept = sparsifier.state_dict()["gradients"]
            assert all(torch.allclose(kept[name], plain.get_parameter(name).grad) for name in kept)  # type: ignore[arg-type]
        optimizer.zero_grad()
    assert mutated == [False, False, True, False, True, False, False, False]


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_reaches_the_referees_loss(search: str | None) -> None:
    """It is that of LBFGS over the kept weights of a model whose removed ones are constants."""
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, line_search_fn=search)
    sparsifier = sparsify(model, optimizer, method="static", **OPTIONS)
    referee = copy.deepcopy(model)
    for name, mask in sparsifier.masks.items():
        referee.get_parameter(name).register_hook(lambda gradient, mask=mask: gradient * mask)
    its_optimizer = torch.optim.LBFGS(referee.parameters(), lr=0.5, line_search_fn=search)
    sparsifier.start_epoch(0)
    for _ in range(4):
        optimizer.step(closure_of(model, optimizer))  # type: ignore[arg-type]
        its_optimizer.step(closure_of(referee, its_optimizer))  # type: ignore[arg-type]
        assert torch.allclose(loss_of(model), loss_of(referee), rtol=1e-5)
    assert float(loss_of(model).detach()) < 1.4


def test_lbfgs_goes_on_after_a_mutation() -> None:
    """Its directions lead through removed weights, so it begins anew, and descends."""
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, line_search_fn="strong_wolfe", max_iter=3)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    for epoch in range(6):
        sparsifier.start_epoch(epoch)
        before = float(loss_of(model).detach())
        optimizer.step(closure_of(model, optimizer))  # type: ignore[arg-type]
        assert float(loss_of(model).detach()) <= before
        assert sparsifier.zeros_kept


def test_a_layer_without_a_gradient_keeps_its_mask() -> None:
    """RigL mutates the others; a layer that took no part in the loss, or was frozen since, waits."""
    model = net()
    model.add_module("beside", nn.Linear(16, 8))
    for method, still in (("rigl", "beside.weight"), ("em", "0.weight")):
        model = net()
        model.add_module("beside", nn.Linear(16, 8))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        sparsifier = sparsify(model, optimizer, method=method, dense=["4"], classifier=[], **OPTIONS)
        if method == "em":
            model[0].weight.requires_grad_(False)
        before = sparsifier.masks[still].clone()
        for epoch in range(3):
            mutation = sparsifier.start_epoch(epoch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model[:5](X), Y).backward()
            optimizer.step()
        assert mutation is not None
        assert still not in mutation.layers
        assert "2.weight" in mutation.layers
        assert torch.equal(before, sparsifier.masks[still])


def test_an_optimizer_that_was_made_anew_must_be_attached() -> None:
    """RigL would silently leave its mutations out: the one that is attached takes no step."""
    model = net()
    sparsifier = sparsify(model, torch.optim.SGD(model.parameters(), 0.1), method="rigl", **OPTIONS)
    another = torch.optim.SGD(model.parameters(), 0.1)
    for epoch in range(2):
        sparsifier.start_epoch(epoch)
        another.zero_grad()
        loss_of(model).backward()
        another.step()
    with pytest.raises(InputError, match="in no step of an attached optimizer"):
        sparsifier.start_epoch(2)


@pytest.mark.parametrize("method", ["em", "rigl"])
def test_a_run_that_is_dropped_is_collected(method: str) -> None:
    """Many runs in one program do not add up: hooks hold nothing. One whose optimizer lives is upheld."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = sparsify(model, optimizer, method=method, **OPTIONS)
    sparsifier.start_epoch(1)
    masks = dict(sparsifier.masks)
    held = [weakref.ref(sparsifier), *(weakref.ref(mask) for mask in masks.values())]
    del sparsifier
    loss_of(model).backward()
    assert not any(bool(model.get_parameter(name).grad[~mask].any()) for name, mask in masks.items())  # type: ignore[index]
    optimizer.step()
    del model, optimizer, masks
    gc.collect()
    assert not any(reference() is not None for reference in held)


def _reduced(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    kept = []
    for views in (True, False):
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        sparsifier = sparsify(model, optimizer, method="rigl", **OPTIONS)
        wrapped = nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=views)
        sparsifier.start_epoch(1)
        parts = torch.arange(64).split(16)[2 * rank : 2 * rank + 2]
        with wrapped.no_sync():
            nn.functional.cross_entropy(wrapped(X[parts[0]]), Y[parts[0]]).backward()
        nn.functional.cross_entropy(wrapped(X[parts[1]]), Y[parts[1]]).backward()
        assert strays(sparsifier) == 0
        optimizer.step()
        kept.append(sparsifier.state_dict()["gradients"])
        sparsifier.start_epoch(2)
    torch.save(kept, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch has no gloo backend")
def test_the_dense_gradient_is_that_of_all_processes(tmp_path: Path) -> None:
    """Accumulated without and then with synchronisation, it is the mean over processes of the sums."""
    mp.spawn(_reduced, args=(str(tmp_path),), nprocs=2)
    model = net()
    sparsify(model, torch.optim.SGD(model.parameters(), 0.1), method="rigl", **OPTIONS).detach()
    (loss_of(model) * 2).backward()
    for rank in range(2):
        for kept in torch.load(tmp_path / f"{rank}.pt", weights_only=True):  # noqa: TID251
            for name, gradient in kept.items():
                assert torch.allclose(gradient, model.get_parameter(name).grad, rtol=1e-4, atol=1e-6)  # type: ignore[arg-type]
