"""Random training loops against a referee that masks gradients by hand, equal to the last bit.

python -m pytest tests/mest/sparse/test_sparse_random_loops.py --hypothesis-profile long
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

from mest import Sparsifier, sparsify

EPOCHS, EVERY, STEPS, ROWS = 6, 2, 2, 12
X = torch.randn(ROWS * STEPS * EPOCHS, 8, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (len(X),), generator=torch.Generator().manual_seed(1))
LR = 0.05

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, LR),
    "nesterov": lambda p: torch.optim.SGD(p, LR, momentum=0.9, nesterov=True, weight_decay=0.01),
    "nesterov without decay": lambda p: torch.optim.SGD(p, LR, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, LR, amsgrad=True),
    "adam, fused": lambda p: torch.optim.Adam(p, LR, fused=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, LR, initial_accumulator_value=0.1),
    "rprop": lambda p: torch.optim.Rprop(p, LR),
    "rmsprop": lambda p: torch.optim.RMSprop(p, LR, momentum=0.5, centered=True),
    "asgd": lambda p: torch.optim.ASGD(p, LR, lambd=0.1),
    "adadelta": lambda p: torch.optim.Adadelta(p),
    "lbfgs": lambda p: torch.optim.LBFGS(p, LR, max_iter=3, history_size=4),
}
#: what a new parameter's state holds where it is not zero
FIRST = {"step_size": LR, "sum": 0.1}


class Wrapped(torch.optim.Optimizer):
    """Hands its steps on to another; never became an optimizer itself."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        return self.optimizer.step(closure)


@dataclass(frozen=True)
class Loop:
    """What a training loop of somebody's own is like."""

    method: str
    optimizer: str
    wrapper: str
    calls: str
    clip: str
    parts: int
    to_none: bool
    frozen: str
    split: bool
    scheme: str
    resume: tuple[int, int] | None
    stale: bool


@st.composite
def loops(draw: st.DrawFn) -> Loop:
    """Any loop that makes sense: LBFGS needs a closure, a scaler takes none, a fused step unscales by itself."""
    optimizer = draw(st.sampled_from(sorted(OPTIMIZERS)))
    calls = "closure" if optimizer == "lbfgs" else draw(st.sampled_from(["step", "closure", "two calls", "scaler"]))
    wrapper = "none" if calls == "scaler" else draw(st.sampled_from(["none", "wrapped"]))
    clips = ["none", "norm", "value"]
    return Loop(
        method=draw(st.sampled_from(["em", "ems", "set", "rigl", "static"])),
        optimizer=optimizer,
        wrapper=wrapper,
        calls=calls,
        clip=draw(st.sampled_from(clips)) if optimizer != "adam, fused" or calls != "scaler" else "none",
        parts=draw(st.integers(1, 3)),
        to_none=draw(st.booleans()),
        frozen=draw(st.sampled_from(["none", "layer", "later"])),
        split=draw(st.booleans()),
        scheme=draw(st.sampled_from(["irregular", "block", "channel"])),
        resume=draw(st.none() | st.tuples(st.integers(0, EPOCHS - 1), st.integers(0, STEPS - 1))),
        stale=draw(st.booleans()),
    )


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3))


@dataclass
class Side:
    """A model in training. The referee has masks, which it applies by hand wherever they matter."""

    loop: Loop
    model: nn.Sequential
    masks: dict[str, Tensor] | None = None
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)

    def __post_init__(self) -> None:
        groups = [list(self.model.parameters())]
        if self.loop.split:
            groups = [[self.model[2].weight], [p for p in self.model.parameters() if p is not self.model[2].weight]]
        groups = [[parameter for parameter in group if parameter.requires_grad] for group in groups]
        self.optimizers = [OPTIMIZERS[self.loop.optimizer](group) for group in groups]
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        self.seen: dict[str, Tensor] = {}
        #: gradients of removed weights in the last step of the optimizer that a layer belongs to
        self.dense: dict[str, Tensor] = {}

    def wrapped(self) -> list[Any]:
        return [Wrapped(one) if self.loop.wrapper == "wrapped" else one for one in self.optimizers]

    def _backward(self, rows: Tensor) -> Tensor:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=self.loop.to_none)
        dense = {name: torch.zeros_like(self.model.get_parameter(name)) for name in self.masks or ()}
        total = torch.zeros(())
        for part in rows.chunk(self.loop.parts):
            loss = nn.functional.cross_entropy(self.model(X[part]), Y[part])
            (self.scaler.scale(loss) if self.loop.calls == "scaler" else loss).backward()
            for name, mask in (self.masks or {}).items():
                gradient = self.model.get_parameter(name).grad
                if gradient is not None:
                    dense[name] += gradient * ~mask
                    gradient.mul_(mask)
            total = total + loss.detach()
        self.seen = dense
        return total

    def _clip(self) -> None:
        if self.loop.clip == "norm":
            nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
        elif self.loop.clip == "value":
            nn.utils.clip_grad_value_(self.model.parameters(), 0.01)

    def step(self, number: int) -> None:
        rows = torch.arange(ROWS * number, ROWS * (number + 1))
        if self.loop.stale:  # gradients of another batch, thrown away by zero_grad
            self._backward(rows.flip(0)[:5])
        for optimizer in self.wrapped():
            self._one(optimizer, rows)
            own = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            self.dense |= {name: g for name, g in self.seen.items() if id(self.model.get_parameter(name)) in own}
        with torch.no_grad():
            for name, mask in (self.masks or {}).items():
                self.model.get_parameter(name).mul_(mask)

    def _one(self, optimizer: Any, rows: Tensor) -> None:
        if self.loop.calls == "closure":

            def closure() -> Tensor:
                loss = self._backward(rows)
                self._clip()
                return loss

            optimizer.step(closure)
            return
        self._backward(rows)
        if self.loop.calls == "two calls":
            saved = {parameter: parameter.detach().clone() for parameter in self.model.parameters()}
            with torch.no_grad():
                for parameter in saved:
                    if parameter.grad is not None:
                        parameter.add_(parameter.grad, alpha=0.5)
            self._backward(rows)
            with torch.no_grad():
                for parameter, value in saved.items():
                    parameter.copy_(value)
        if self.loop.calls == "scaler":
            if self.loop.clip != "none":
                self.scaler.unscale_(optimizer)
                self._clip()
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            self._clip()
            optimizer.step()

    @torch.no_grad()
    def take(self, masks: dict[str, Tensor]) -> None:
        """New masks: what went is zero, what came is new."""
        old, self.masks = self.masks, {name: mask.clone() for name, mask in masks.items()}
        for name, mask in masks.items():
            weight = self.model.get_parameter(name)
            before = old[name] if old else mask
            weight.mul_(mask & before)
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(weight, {}).items():
                    if isinstance(value, Tensor) and value.shape == weight.shape:
                        value.mul_(before & mask)
                        value[mask & ~before] = FIRST.get(key, 0.0)
        changed = {
            id(self.model.get_parameter(name)) for name in masks if old and bool((old[name] ^ masks[name]).any())
        }
        for optimizer in self.optimizers:
            holds = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
            if self.loop.optimizer == "lbfgs" and holds & changed:
                optimizer.state.clear()


def make(side: Side) -> Sparsifier:
    loop = side.loop
    first, *others = side.wrapped()
    sparsifier = sparsify(
        side.model,
        first,
        scheme=loop.scheme,
        profile={"0.weight": 0.7, "2.weight": 0.7},
        method=loop.method,
        epochs=EPOCHS,
        update_every_epochs=EVERY,
        seed=3,
    )
    for other in others:
        sparsifier.attach(other)
    return sparsifier


def begin(loop: Loop, seed: int) -> tuple[Side, Sparsifier]:
    model = net(seed)
    if loop.frozen == "layer":
        model[0].weight.requires_grad_(False)
    side = Side(loop, model)
    return side, make(side)


def resumed(side: Side, sparsifier: Sparsifier) -> tuple[Side, Sparsifier]:
    """The same run in another model, by way of a file."""
    file = io.BytesIO()
    optimizers = [optimizer.state_dict() for optimizer in side.optimizers]
    torch.save([side.model.state_dict(), optimizers, sparsifier.state_dict(), side.scaler.state_dict()], file)
    file.seek(0)
    model, optimizers, state, scaler = torch.load(file, weights_only=True)  # noqa: TID251
    fresh, its_sparsifier = begin(side.loop, 9)
    for name, parameter in side.model.named_parameters():
        fresh.model.get_parameter(name).requires_grad_(parameter.requires_grad)
    fresh.model.load_state_dict(model)
    for optimizer, its_state in zip(fresh.optimizers, optimizers, strict=True):
        optimizer.load_state_dict(its_state)
    its_sparsifier.load_state_dict(state)
    fresh.scaler.load_state_dict(scaler)
    return fresh, its_sparsifier


def check_growth(loop: Loop, before: dict[str, Tensor], after: dict[str, Tensor], dense: dict[str, Tensor]) -> None:
    """RigL grew no weight while one with a clearly larger dense gradient stayed away."""
    if loop.method != "rigl" or loop.scheme != "irregular":
        return
    for name, mask in after.items():
        grown, dead = mask & ~before[name], ~(mask | before[name])
        if bool(grown.any()) and bool(dead.any()):
            gradient = dense[name].abs()
            assert float(gradient[grown].min()) >= float(gradient[dead].max()) * (1 - 1e-4), name


def plain(**options: Any) -> Loop:
    """A loop with nothing special but these."""
    usual = {"method": "em", "optimizer": "sgd", "wrapper": "none", "calls": "step", "clip": "none", "parts": 1}
    usual |= {"to_none": False, "frozen": "none", "split": False, "scheme": "irregular", "resume": None, "stale": False}
    return Loop(**{**usual, **options})


@given(loops())
@example(plain(optimizer="lbfgs", calls="closure", split=True))
@example(plain(optimizer="lbfgs", calls="closure", frozen="layer"))
@example(plain(method="rigl", optimizer="rmsprop", split=True))
def test_any_loop_equals_its_referee(loop: Loop) -> None:
    """Weights after every step are those of a loop that masks by hand, resumed or not, and state of removed ones 0."""
    side, sparsifier = begin(loop, 0)
    referee = Side(loop, copy.deepcopy(side.model))
    for epoch in range(EPOCHS):
        before = {name: mask.clone() for name, mask in sparsifier.masks.items()}
        if loop.frozen == "later" and epoch == 3:
            for one in (side, referee):
                one.model[0].weight.requires_grad_(False)
                one.model[0].weight.grad = None
        mutation = sparsifier.start_epoch(epoch)
        check_growth(loop, before, sparsifier.masks, referee.dense)
        if not side.model[0].weight.requires_grad and loop.method != "ems":  # which still shrinks it
            assert torch.equal(before["0.weight"], sparsifier.masks["0.weight"])
        due = epoch in (2, 4) or (epoch == 0 and loop.method != "rigl")
        if loop.method in ("em", "set", "rigl") and due and epoch < 4:
            assert mutation is not None
        referee.take(sparsifier.masks)
        for step in range(STEPS):
            if loop.resume == (epoch, step):
                side, sparsifier = resumed(side, sparsifier)
            side.step(STEPS * epoch + step)
            referee.step(STEPS * epoch + step)
            for name, parameter in side.model.named_parameters():
                assert torch.equal(parameter, referee.model.get_parameter(name)), name
            assert sparsifier.zeros_kept
            for name, mask in sparsifier.masks.items():
                weight = side.model.get_parameter(name)
                assert weight.grad is None or not bool(weight.grad[~mask].any())
    sparsifier.finish()
    assert sparsifier.at_target
    assert sparsifier.zeros_kept
