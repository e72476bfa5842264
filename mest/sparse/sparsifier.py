"""The part that holds a model sparse while it trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from mest.errors import DamagedError, InputError
from mest.sparse.counts import exact, kept_units, phase_counts
from mest.sparse.growth import Growth, parse_growth
from mest.sparse.layers import Target, bare, layer_problem, layers_of
from mest.sparse.mutation import Mutation, changes, first_mask, grow, prune
from mest.sparse.processes import agree
from mest.sparse.schedule import Schedule
from mest.sparse.scheme import Scheme
from mest.sparse.score import Score, parse_score
from mest.sparse.upkeep import Upkeep


@dataclass(frozen=True)
class LayerState:
    """What was asked of a layer and what it has."""

    name: str
    scheme: Scheme
    shape: tuple[int, ...]
    target_sparsity: float
    sparsity: float
    weights: int
    kept_weights: int
    units: int
    kept_units: int


class Sparsifier:
    """Keeps layers of a model at what the schedule prescribes.

    Made from a dense model, it prunes every layer to its target at once. Then `attach` an optimizer, call
    `start_epoch` before each epoch and `finish` after the last. Weights outside `masks` are exactly zero, and so are
    their gradients and optimizer state after every optimizer step.
    """

    def __init__(
        self,
        model: nn.Module,
        targets: Mapping[str, Target],
        schedule: Schedule,
        *,
        score: str | Score | None = None,
        growth: str | Growth | None = None,
        seed: int = 0,
    ) -> None:
        """`score` and `growth` default to what the schedule's method prescribes. Raises InputError: all problems."""
        self.model = bare(model)
        self.schedule = schedule
        self.score = parse_score(score if score is not None else schedule.score)
        self.growth = parse_growth(growth if growth is not None else schedule.growth)
        self.targets: dict[str, Target] = {} if schedule.dense else dict(targets)
        self.dense: dict[str, str] = dict(getattr(targets, "dense", {}))
        if schedule.dense:
            self.dense |= dict.fromkeys(targets, "method dense")
        self._check()
        #: the last epoch that `start_epoch` began; -1 before the first
        self.epoch = -1
        self.finished = False
        self.masks: dict[str, Tensor] = {}
        self._parameters = {name: self.model.get_parameter(name) for name in self.targets}
        self._gradients: dict[str, Tensor] = {}
        self._upkeeps: list[Upkeep] = []
        self._expected_nonzeros: dict[str, int] = {}
        self._generator = torch.Generator().manual_seed(seed)
        first = {
            name: first_mask(self._scheme(name), self._score(name, None), self._target_units(name))
            for name in self.targets
        }
        self._set_masks(first)
        self._clear()

    # --- what a training loop calls ---

    def attach(self, optimizer: torch.optim.Optimizer) -> Sparsifier:
        """This sparsifier, upheld in every step of `optimizer`; call it for each that trains sparse layers."""
        trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        layers = {name: weight for name, weight in self._parameters.items() if id(weight) in trained}
        if self._parameters and not layers:
            raise InputError(
                "the optimizer holds none of the sparse layers' weights; make it from this model's parameters"
            )
        self._upkeeps.append(Upkeep(optimizer, layers, self.masks, self._observe_dense, self._observe))
        return self

    def detach(self) -> None:
        """Lets go of all optimizers."""
        for upkeep in self._upkeeps:
            upkeep.detach()
        self._upkeeps.clear()

    def start_epoch(self, epoch: int) -> Mutation | None:
        """What the epoch begins with: a mutation where one is due, pruning back where a phase ends, else None.

        Epochs count from 0 and only go forward; calling it again for the epoch in progress changes nothing.
        """
        if epoch < self.epoch or epoch < 0:
            raise InputError(f"epoch {epoch} after epoch {self.epoch}: epochs count from 0 and only go forward")
        self._check_attached()
        self._check_restored()
        if epoch == self.epoch or self.finished:
            return None
        self.epoch = epoch
        if self.schedule.due(epoch) and not (self.growth.needs_dense_gradient and not self._gradients):
            return self._mutate({name: self._phase_units(name) for name in self.masks})
        over = {name: self._units_in_force(name) for name in self.masks}
        over = {name: units for name, units in over.items() if self._kept_units(name) > units}
        return self._mutate({name: (units, units) for name, units in over.items()})

    def finish(self) -> Mutation | None:
        """The last change: every layer ends at its target; None if all are there already. Later epochs are static."""
        self._check_restored()
        self.finished = True
        targets = {name: self._target_units(name) for name in self.masks}
        off = {name: (units, units) for name, units in targets.items() if self._kept_units(name) != units}
        return self._mutate(off)

    # --- what it holds ---

    @property
    def at_target(self) -> bool:
        """True if every layer keeps what its target allows, as it does not under EM&S between mutations."""
        return all(self._kept_units(name) == self._target_units(name) for name in self.masks)

    @property
    def sparsity(self) -> float:
        """Zeros ÷ weights over the sparse layers; 0 without any."""
        weights = sum(mask.numel() for mask in self.masks.values())
        return 1 - sum(int(mask.count_nonzero()) for mask in self.masks.values()) / weights if weights else 0.0

    @property
    def zeros_kept(self) -> bool:
        """True if every weight outside the masks is exactly zero."""
        return not any(bool(weight.detach()[~self._mask(name)].any()) for name, weight in self._parameters.items())

    def layers(self) -> tuple[LayerState, ...]:
        """Requested and achieved sparsity of every sparse layer."""
        return tuple(
            LayerState(
                name=name,
                scheme=self._scheme(name),
                shape=tuple(mask.shape),
                target_sparsity=float(self._target(name)),
                sparsity=1 - int(mask.count_nonzero()) / mask.numel(),
                weights=mask.numel(),
                kept_weights=int(mask.count_nonzero()),
                units=self._scheme(name).units(tuple(mask.shape)),
                kept_units=self._kept_units(name),
            )
            for name, mask in self.masks.items()
        )

    # --- checkpoints ---

    def state_dict(self) -> dict[str, Any]:
        """Masks, the gradients that the next mutation needs, generator and position: tensors and plain values."""
        return {
            "schema": "mest-sparsifier/1",
            "identity": self._identity(),
            "epoch": self.epoch,
            "finished": self.finished,
            "masks": {name: mask.clone() for name, mask in self.masks.items()},
            "gradients": {name: gradient.clone() for name, gradient in self._gradients.items()},
            "generator": self._generator.get_state(),
            "nonzeros": {name: int(weight.detach().count_nonzero()) for name, weight in self._parameters.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues where `state_dict` was taken. Make the sparsifier first, then load the model's weights and this.

        Raises InputError if the state is of other layers, another schedule or other rules, DamagedError if it is none.
        """
        if not isinstance(state, Mapping) or state.get("schema") != "mest-sparsifier/1":
            raise DamagedError("not the state of a sparsifier; give what Sparsifier.state_dict() returned")
        if missing := {"identity", "epoch", "finished", "masks", "gradients", "generator", "nonzeros"} - state.keys():
            raise DamagedError(f"the sparsifier's state lacks {', '.join(sorted(missing))}; it is damaged")
        theirs, ours = state["identity"], self._identity()
        if odd := [key for key in ours if theirs.get(key) != ours[key]]:
            listed = "; ".join(f"{key} was {theirs.get(key)} and is now {ours[key]}" for key in odd)
            raise InputError(f"the sparsifier's state is of another run: {listed}")
        wrong = [name for name, mask in self.masks.items() if state["masks"][name].shape != mask.shape]
        if wrong:
            raise InputError(f"the sparsifier's state has masks of another shape for {', '.join(wrong)}")
        for name, weight in self._parameters.items():
            self.masks[name] = state["masks"][name].to(weight.device, torch.bool, copy=True)
        self._gradients = {
            name: gradient.to(self._parameters[name].device, copy=True) for name, gradient in state["gradients"].items()
        }
        self._generator.set_state(state["generator"].cpu())
        self.epoch, self.finished = int(state["epoch"]), bool(state["finished"])
        self._expected_nonzeros = dict(state["nonzeros"])
        for upkeep in self._upkeeps:
            upkeep.forget()

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a state to be continued."""
        return {
            "layers": {name: f"{self._scheme(name)} {float(self._target(name))}" for name in self.targets},
            "schedule": repr(self.schedule),
            "score": f"{self.score.name} {vars(self.score)}",
            "growth": f"{self.growth.name} {vars(self.growth)}",
        }

    # --- gradients for the next mutation ---

    def _observe_dense(self, gradients: dict[str, Tensor]) -> None:
        """Before masking: growth by gradient needs the last dense gradient before each mutation, in no other epoch."""
        if self.growth.needs_dense_gradient and (self.score.needs_gradient or self.schedule.due(self.epoch + 1)):
            self._remember(gradients)

    def _observe(self, gradients: dict[str, Tensor]) -> None:
        """After masking: the score may be asked at any time, by `finish` too."""
        if self.score.needs_gradient and not self.growth.needs_dense_gradient:
            self._remember(gradients)

    @torch.no_grad()
    def _remember(self, gradients: dict[str, Tensor]) -> None:
        for name, gradient in gradients.items():
            if name not in self._gradients or self._gradients[name].device != gradient.device:
                self._gradients[name] = torch.empty_like(gradient)
        if gradients:
            torch._foreach_copy_([self._gradients[name] for name in gradients], list(gradients.values()))

    # --- mutation ---

    @torch.no_grad()
    def _mutate(self, units: dict[str, tuple[int, int]]) -> Mutation | None:
        """Prunes, then grows the given layers to these unit counts; None if that changes nothing."""
        before = {name: self._mask(name) for name in units}
        pruned = {
            name: prune(self._scheme(name), before[name], self._score(name, self._gradients.get(name)), count)
            for name, (count, _) in units.items()
        }
        pruned = self._set_masks(pruned)
        self._clear()
        # What grows was zero already: the masks are all that changes.
        grown = self._set_masks({name: self._grown(name, before[name], count) for name, (_, count) in units.items()})
        if self.growth.needs_dense_gradient:
            self._gradients.clear()
        layers = {name: changes(self._scheme(name), before[name], pruned[name], grown[name]) for name in units}
        layers = {name: layer for name, layer in layers.items() if layer.pruned_units or layer.grown_units}
        return Mutation(self.epoch, layers) if layers else None

    def _grown(self, name: str, before: Tensor, count: int) -> Tensor:
        weight, gradient = self._parameters[name], self._gradients.get(name)
        return grow(self._scheme(name), self.masks[name], before, weight, gradient, self.growth, count, self._generator)

    def _set_masks(self, masks: dict[str, Tensor]) -> dict[str, Tensor]:
        """The masks as all processes agree on them, in force from the next step on."""
        agreed = agree(masks)
        self.masks.update(agreed)
        for upkeep in self._upkeeps:
            upkeep.forget()
        return agreed

    @torch.no_grad()
    def _clear(self) -> None:
        """Weights, gradients and state outside the masks become zero now."""
        for name, weight in self._parameters.items():
            weight.mul_(self._mask(name))
            if name in self._gradients and not self.growth.needs_dense_gradient:
                self._gradients[name].mul_(self.masks[name])
        for upkeep in self._upkeeps:
            upkeep.clear()

    def _score(self, name: str, gradient: Tensor | None) -> Tensor:
        weight = self._parameters[name].detach().float()
        score = self.score(weight, None if gradient is None else gradient.to(weight))
        if not math.isfinite(float(score.sum())):
            raise InputError(
                f"{name}: weights or gradients are not finite, so none can be ranked; lower the learning rate"
            )
        return score

    def _mask(self, name: str) -> Tensor:
        """The mask, where the weight is now: a model may move after its sparsifier was made."""
        self.masks[name] = self.masks[name].to(self._parameters[name].device)
        return self.masks[name]

    # --- counts ---

    def _scheme(self, name: str) -> Scheme:
        return self.targets[name].scheme

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._parameters[name].shape)

    def _target(self, name: str) -> Fraction:
        return self.schedule.target(self.targets[name].weight_sparsity)

    def _target_units(self, name: str) -> int:
        return kept_units(self._scheme(name), self._shape(name), self._target(name))

    def _units_in_force(self, name: str) -> int:
        in_force = self.schedule.in_force(self.epoch, self.targets[name].weight_sparsity)
        return kept_units(self._scheme(name), self._shape(name), in_force)

    def _phase_units(self, name: str) -> tuple[int, int]:
        phase = self.schedule.phase(self.epoch, self.targets[name].weight_sparsity)
        return phase_counts(self._scheme(name), self._shape(name), phase)

    def _kept_units(self, name: str) -> int:
        return int(self._scheme(name).alive(self.masks[name]).count_nonzero())

    # --- checks ---

    def _check(self) -> None:
        """Raises InputError with everything that does not fit together."""
        known = {layer.name: layer for layer in layers_of(self.model)}
        problems = []
        for name, target in self.targets.items():
            if name not in known:
                problems.append(f"{name}: the model has no convolution or linear weight of this name")
            elif problem := layer_problem(known[name], target.scheme, self._densest_asked(target)):
                problems.append(f"{name}: {problem}")
        unequal = sorted({target.weight_sparsity for target in self.targets.values()})
        if self.schedule.bounds and len(unequal) > 1:
            problems.append(
                f"explicit bounds hold for every layer, but the targets reach from {unequal[0]} to {unequal[-1]};"
                " leave the bounds out, so that each layer's own target yields them"
            )
        if problems:
            raise InputError("; ".join(problems))

    def _densest_asked(self, target: Target) -> Fraction:
        """The lowest sparsity that a person asked of a layer; what a method derives from a target is capped instead."""
        bounds = self.schedule.bounds
        return min(phase.grow_to for phase in bounds) if bounds else exact(target.weight_sparsity)

    def _check_attached(self) -> None:
        attached = {name for upkeep in self._upkeeps for name in upkeep.layers}
        loose = [name for name, weight in self._parameters.items() if weight.requires_grad and name not in attached]
        if loose:
            more = f" and {len(loose) - 1} more" if len(loose) > 1 else ""
            raise InputError(
                f"{loose[0]}{more}: sparse, but trained by no attached optimizer; call attach(optimizer) for each"
            )

    def _check_restored(self) -> None:
        """After load_state_dict, the model must hold the weights that the state was saved with."""
        expected, self._expected_nonzeros = self._expected_nonzeros, {}
        for name, nonzeros in expected.items():
            if int(self._parameters[name].detach().count_nonzero()) != nonzeros:
                raise InputError(
                    f"{name}: the model's weights are not those that the sparsifier's state was saved with; make the"
                    " sparsifier first, then load the model's state, the optimizer's and the sparsifier's"
                )
