"""Optimizers and what wraps them: state of grown weights, state that is no number, inner optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mest import sparsify

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 4, (64,), generator=torch.Generator().manual_seed(1))
OPTIONS: dict[str, Any] = {"scheme": "irregular", "sparsity": 0.8, "epochs": 8, "update_every_epochs": 2}


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def backward(model: nn.Module) -> Tensor:
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(X), Y)
    loss.backward()
    return loss


BEGINNINGS: dict[str, tuple[Callable[[Any], torch.optim.Optimizer], dict[str, float]]] = {
    "rprop": (lambda p: torch.optim.Rprop(p, lr=0.02), {"step_size": 0.02, "prev": 0.0}),
    "adagrad": (lambda p: torch.optim.Adagrad(p, 0.01, initial_accumulator_value=0.3), {"sum": 0.3}),
    "amsgrad": (
        lambda p: torch.optim.AdamW(p, 0.01, amsgrad=True),
        {"exp_avg": 0.0, "exp_avg_sq": 0.0, "max_exp_avg_sq": 0.0},
    ),
    "rmsprop": (
        lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
        {"square_avg": 0.0, "grad_avg": 0.0, "momentum_buffer": 0.0},
    ),
    "sgd": (lambda p: torch.optim.SGD(p, 0.01, momentum=0.9), {"momentum_buffer": 0.0}),
    "asgd": (lambda p: torch.optim.ASGD(p, 0.01), {"ax": 0.0}),
}


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_grown_weights_begin_with_the_state_of_a_new_parameter(kind: str) -> None:
    """Which is not zero for all; that of removed weights is."""
    make, expected = BEGINNINGS[kind]
    model = net()
    optimizer = make(model.parameters())
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    for epoch in range(2):
        sparsifier.start_epoch(epoch)
        backward(model)
        optimizer.step()
    before = {name: mask.clone() for name, mask in sparsifier.masks.items()}
    sparsifier.start_epoch(2)
    for name, mask in sparsifier.masks.items():
        grown = mask & ~before[name]
        assert bool(grown.any())
        state = optimizer.state[model.get_parameter(name)]
        for key, value in expected.items():
            assert torch.all(state[key][grown] == torch.tensor(value)), key
            assert not bool(state[key][~mask].any()), key


def test_grown_weights_move_as_far_as_others_with_rprop() -> None:
    """A step size of zero never grows: that was no new parameter."""
    model = net()
    optimizer = torch.optim.Rprop(model.parameters())
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    for epoch in range(2):
        sparsifier.start_epoch(epoch)
        backward(model)
        optimizer.step()
    before = sparsifier.masks["2.weight"].clone()
    sparsifier.start_epoch(2)
    grown = sparsifier.masks["2.weight"] & ~before
    for _ in range(3):
        backward(model)
        optimizer.step()
    assert float(model[2].weight.detach()[grown].abs().max()) > 1e-3


class Eight(Tensor):
    """As the state of 8-bit optimizers: a tensor that knows almost no operation."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "mul" in getattr(function, "__name__", ""):
            raise NotImplementedError(function)
        return super().__torch_function__(function, types, args, kwargs or {})


class Odd(torch.optim.Optimizer):
    """Keeps truth values, counts, quantized numbers and a square of channels beside a momentum."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["count"] = torch.full_like(parameter, 7, dtype=torch.int64)
                    state["eight"] = torch.zeros_like(parameter).as_subclass(Eight)
                    state["left"] = torch.ones(len(parameter), len(parameter))
                    state["late"] = torch.zeros_like(parameter)
                state["seen"] = parameter.grad != 0
                state["count"] += 1
                state["late"] += 1
                parameter.sub_(group["lr"] * parameter.grad)


def test_state_that_is_no_number_is_left_alone() -> None:
    """What can be filled begins anew with grown weights; a square of channels is no state of single weights."""
    model = net()
    optimizer = Odd(model.parameters(), 0.1)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    masks = []
    for epoch in range(3):
        sparsifier.start_epoch(epoch)
        masks.append(sparsifier.masks["2.weight"].clone())
        if epoch < 2:
            backward(model)
            optimizer.step()
    state = optimizer.state[model[2].weight]
    grown = masks[2] & ~masks[1]
    assert bool((state["count"][grown] == 8).all())
    assert bool((state["count"][masks[1] & masks[2]] == 9).all())
    assert bool((state["left"] == 1).all())
    assert not bool(state["late"][~masks[2]].any())
    assert not bool(state["seen"][~masks[2]].any())


class Sam(torch.optim.Optimizer):
    """The two-call optimizer that is widely copied: only the inner one's step is ever called."""

    def __init__(self, params: Any, base: Any, rho: float = 0.05, **options: Any) -> None:
        super().__init__(params, {"rho": rho, **options})
        self.base_optimizer = base(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self) -> None:
        norm = torch.nn.utils.get_total_norm([p.grad for group in self.param_groups for p in group["params"]])
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["old_p"] = parameter.data.clone()
                parameter.add_(parameter.grad * group["rho"] / norm)

    @torch.no_grad()
    def second_step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data = self.state[parameter]["old_p"]
        self.base_optimizer.step()


@pytest.mark.parametrize("method", ["em", "rigl"])
def test_sam_stays_sparse_between_its_two_calls(method: str) -> None:
    """Weights that are climbed from and to have the same zeros; the momentum is the inner optimizer's."""
    model = net()
    optimizer = Sam(model.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
    sparsifier = sparsify(model, optimizer, method=method, **OPTIONS)
    mutated = 0
    for epoch in range(6):
        mutated += sparsifier.start_epoch(epoch) is not None
        backward(model)
        optimizer.first_step()
        assert sparsifier.zeros_kept
        backward(model)
        optimizer.second_step()
        assert sparsifier.zeros_kept
        for name, mask in sparsifier.masks.items():
            momentum = optimizer.base_optimizer.state[model.get_parameter(name)]["momentum_buffer"]
            assert not bool(momentum[~mask].any())
    assert mutated >= 2


class Accelerated(torch.optim.Optimizer):
    """As accelerate's: an Optimizer by class that never became one, and hands everything on."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    @property
    def state(self) -> Any:
        return self.optimizer.state

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.optimizer.step(closure)


class Wrapper:
    """No torch optimizer at all, but it has one."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.inner = [optimizer]

    def step(self) -> None:
        self.inner[0].step()


@pytest.mark.parametrize("wrap", [Accelerated, Wrapper])
def test_what_wraps_an_optimizer_is_seen_through(wrap: Any) -> None:
    """Hooks and state are the inner one's."""
    model = net()
    inner = torch.optim.Adam(model.parameters(), 0.01)
    optimizer = wrap(inner)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    for epoch in range(4):
        sparsifier.start_epoch(epoch)
        backward(model)
        optimizer.step()
        for name, mask in sparsifier.masks.items():
            assert not bool(inner.state[model.get_parameter(name)]["exp_avg"][~mask].any())
    assert sparsifier.zeros_kept


def test_an_optimizer_in_the_backward_pass_stays_sparse() -> None:
    """Steps taken in hooks of the parameters, before and after ours; RigL mutates too."""
    model = net()
    optimizers = {parameter: torch.optim.SGD([parameter], 0.1, momentum=0.9) for parameter in model.parameters()}

    def apply(parameter: Tensor) -> None:
        optimizers[parameter].step()  # type: ignore[index]
        optimizers[parameter].zero_grad()  # type: ignore[index]

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(apply)
    first, *others = optimizers.values()
    sparsifier = sparsify(model, first, method="rigl", **OPTIONS)
    for other in others:
        sparsifier.attach(other)
    mutations = []
    for epoch in range(5):
        mutations.append(sparsifier.start_epoch(epoch) is not None)
        nn.functional.cross_entropy(model(X), Y).backward()
        assert sparsifier.zeros_kept
    assert mutations == [False, False, True, False, True]
