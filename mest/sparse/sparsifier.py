"""The part that holds a model sparse while it trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mest.errors import InputError
from mest.sparse.averages import Averages
from mest.sparse.decimals import whole_number
from mest.sparse.fit import Fit, not_finite, optimizers_of
from mest.sparse.gradients import Gradients
from mest.sparse.growth import Growth, parse_growth
from mest.sparse.held import HeldLayers
from mest.sparse.layers import Target
from mest.sparse.mutation import Mutation, changes, first_mask, grow, prune
from mest.sparse.parameters import bare, reasons_for_the_rest
from mest.sparse.plan import plan_layers
from mest.sparse.processes import agree, mean, together
from mest.sparse.schedule import Schedule
from mest.sparse.schemes.scheme import Scheme
from mest.sparse.score import Score, parse_score
from mest.sparse.sparsifier_state import SparsifierState, read_state
from mest.sparse.state_in_optimizer import StateInOptimizer
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
        masks: Mapping[str, Tensor] | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """`score` and `growth` default to what the schedule's method prescribes; layers in `masks` begin with those.

        With a `state` the model has the weights of its checkpoint already, and the run continues from there.
        Raises InputError: all problems.
        """
        self.model = bare(model)
        self.schedule = schedule
        self.score = parse_score(score if score is not None else schedule.score)
        self.growth = parse_growth(growth if growth is not None else schedule.growth)
        self.targets: dict[str, Target] = {} if schedule.dense else dict(targets)
        reasons = {} if schedule.dense else dict(getattr(targets, "dense", {}))
        #: every other parameter of two or more dimensions, with the reason
        self.dense = reasons_for_the_rest(
            self.model, {*self.targets}, reasons, "method dense" if schedule.dense else "no target was given"
        )
        self._plans = plan_layers(self.model, self.targets, schedule)
        #: the last epoch that `start_epoch` began; -1 before the first
        self.epoch = -1
        self.finished = False
        self._held = HeldLayers({name: self.model.get_parameter(name) for name in self.targets})
        self.masks: dict[str, Tensor] = self._held.masks
        self._gradients = Gradients(self._held)
        self._averages = Averages(self._held)
        self._fit = Fit(self.model, self._held, self._averages)
        self._upkeeps: list[Upkeep] = []
        self._saved_with: list[StateInOptimizer] = []
        self._generator = torch.Generator().manual_seed(int(seed))
        if state is not None:
            self._take(read_state(state, self._identity(), self._held.weights))
            self._fit.check()
            return
        # Everything that can be refused comes before the first weight is touched.
        first = {
            name: masks[name].to(self._held.weights[name].device, torch.bool, copy=True)
            if masks is not None and name in masks
            else first_mask(self.targets[name].scheme, self._score(name, None), self._plans[name].target_units)
            for name in self.targets
        }
        self._apply(agree(first))

    # --- what a training loop calls ---

    def attach(self, optimizer: torch.optim.Optimizer) -> Sparsifier:
        """This sparsifier, upheld in every step of `optimizer` and of those that it wraps; call it for each of yours.

        Raises InputError if there is no torch optimizer in it, or none that trains a parameter of this model.
        """
        for one in optimizers_of(optimizer, self.model):
            for upkeep in [upkeep for upkeep in self._upkeeps if upkeep.optimizer is one]:
                upkeep.detach()
                self._upkeeps.remove(upkeep)
            self._upkeeps.append(Upkeep(one, self._held, self._gradients, self._fit.check))
        self._listen()
        return self

    def attach_average(self, average: nn.Module) -> Sparsifier:
        """This sparsifier, which from now on keeps a copy of averaged weights as sparse as the model.

        Give what holds it (`torch.optim.swa_utils.AveragedModel`, timm's `ModelEmaV3`) or the copy itself. Without
        this, an average keeps a share of every weight that mutations remove. Raises InputError if it is of another
        model.
        """
        self._averages.add(average, self.model)
        return self

    def save_with(self, optimizer: torch.optim.Optimizer) -> Sparsifier:
        """This sparsifier, whose state from now on is part of `optimizer.state_dict()` and loaded with it.

        For programs whose checkpoints hold a model and an optimizer and nothing else. Raises InputError if this
        optimizer's state can carry nothing else.
        """
        self._saved_with.append(StateInOptimizer(optimizer, self.state_dict, self.load_state_dict))
        return self

    def detach(self) -> None:
        """Lets go of all optimizers, averages and gradients."""
        for upkeep in self._upkeeps:
            upkeep.detach()
        for saved_with in self._saved_with:
            saved_with.detach()
        self._upkeeps.clear()
        self._saved_with.clear()
        self._averages.models.clear()
        self._gradients.release()

    def start_epoch(self, epoch: int) -> Mutation | None:
        """What the epoch begins with: a mutation where one is due, pruning back where a phase ends, else None.

        Epochs count from 0 and only go forward; calling it again for the epoch in progress changes nothing.
        Raises InputError, and changes nothing, if weights, masks and optimizers do not belong together.
        """
        number = whole_number(epoch, "epoch", least=0)
        if number < self.epoch:
            raise InputError(f"epoch {number} after epoch {self.epoch}: epochs count from 0 and only go forward")
        self._look(attached=True)
        if number == self.epoch or self.finished:
            return None
        mutation = self._mutate(number, self._units_at(number))
        self.epoch = number
        self._listen()
        return mutation

    def finish(self) -> Mutation | None:
        """The last change: every layer ends at its target; None if all are there already. Later epochs are static."""
        self._look(attached=False)
        targets = {name: self._plans[name].target_units for name in self.masks}
        off = {name: (units, units) for name, units in targets.items() if self._kept_units(name) != units}
        mutation = self._mutate(self.epoch, off)
        self.finished = True
        return mutation

    # --- what it holds ---

    def holds(self, model: nn.Module) -> bool:
        """True for the model that it was made with, wrapped or not, and for averages of it that it keeps sparse."""
        return any(bare(model) is one for one in (self.model, *self._averages.models))

    @property
    def at_target(self) -> bool:
        """True if every layer keeps what its target allows, as it does not under EM&S between mutations."""
        return all(self._kept_units(name) == self._plans[name].target_units for name in self.masks)

    @property
    def sparsity(self) -> float:
        """Zeros ÷ weights over the sparse layers; 0 without any."""
        weights = sum(mask.numel() for mask in self.masks.values())
        return 1 - sum(int(mask.count_nonzero()) for mask in self.masks.values()) / weights if weights else 0.0

    @property
    def zeros_kept(self) -> bool:
        """True if every weight outside the masks is exactly zero."""
        return not any(self._held.strays(name) for name in self.masks)

    def layers(self) -> tuple[LayerState, ...]:
        """Requested and achieved sparsity of every sparse layer."""
        return tuple(
            LayerState(
                name=name,
                scheme=self.targets[name].scheme,
                shape=tuple(mask.shape),
                target_sparsity=float(self._plans[name].target),
                sparsity=1 - int(mask.count_nonzero()) / mask.numel(),
                weights=mask.numel(),
                kept_weights=int(mask.count_nonzero()),
                units=self.targets[name].scheme.units(tuple(mask.shape)),
                kept_units=self._kept_units(name),
            )
            for name, mask in self.masks.items()
        )

    # --- checkpoints ---

    def state_dict(self) -> dict[str, Any]:
        """Masks, the gradients that the next mutation needs, generator and position: tensors and plain values.

        Raises InputError if the model's weights are not those that the masks belong to.
        """
        self._fit.check()
        return SparsifierState(
            identity=self._identity(),
            epoch=self.epoch,
            finished=self.finished,
            masks=self.masks,
            gradients=self._gradients.kept,
            generator=self._generator.get_state(),
            nonzeros={name: int(weight.detach().count_nonzero()) for name, weight in self._held.weights.items()},
        ).as_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues where `state_dict` was taken. Make the sparsifier first, then load the model's weights and this.

        Raises InputError if the state is of other layers, another schedule or other rules, DamagedError if it is none.
        """
        self._take(read_state(state, self._identity(), self._held.weights))
        self._listen()

    def _take(self, state: SparsifierState) -> None:
        self._held.take(state.masks)
        self._gradients.restore(state.gradients)
        self._generator.set_state(state.generator)
        self.epoch, self.finished = state.epoch, state.finished
        self._fit.expect(state.nonzeros)
        self._held.forget_versions()

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a state to be continued."""
        return {
            "layers": {name: f"{self.targets[name].scheme} {float(self._plans[name].target)}" for name in self.targets},
            "schedule": repr(self.schedule),
            "score": f"{self.score.name} {vars(self.score)}",
            "growth": f"{self.growth.name} {vars(self.growth)}",
        }

    # --- mutation ---

    def _units_at(self, epoch: int) -> dict[str, tuple[int, int]]:
        """Units after pruning and after growing, of the layers that change as the epoch begins.

        Frozen layers only shrink, where a phase ends; so do those that growth has no gradient for.
        """
        known = set(self._held.weights)
        if self.growth.needs_dense_gradient:
            gradients = mean(self._gradients.kept, list(self.masks), self._held.weights)
            self._gradients.kept, known = gradients, set(gradients)
        units = {}
        for name, weight in self._held.weights.items():
            in_force = self._plans[name].units_in_force(epoch)
            if self.schedule.due(epoch) and weight.requires_grad and name in known:
                units[name] = self._plans[name].phase_units(epoch)
            elif self._kept_units(name) > in_force:
                units[name] = (in_force, in_force)
        return units

    @torch.no_grad()
    def _mutate(self, epoch: int, units: dict[str, tuple[int, int]]) -> Mutation | None:
        """Prunes, then grows the given layers to these unit counts; None if that changes nothing.

        All masks are known before the first is put in force, so that what is refused changes nothing.
        """
        if not units:
            return None
        random = self._generator.get_state()
        before = {name: self._held.mask(name) for name in units}
        try:
            pruned = agree({name: self._pruned(name, before[name], count) for name, (count, _) in units.items()})
            grown = agree({name: self._grown(name, before[name], pruned[name], units[name][1]) for name in units})
        except Exception:
            self._generator.set_state(random)
            raise
        self._apply(pruned)
        # What grows was zero already: its mask and its optimizer state are all that changes.
        self._held.take(grown)
        changed = [name for name in units if not torch.equal(before[name], grown[name])]
        for upkeep in self._upkeeps:
            upkeep.renew({name: grown[name] & ~pruned[name] for name in changed})
        if self.growth.needs_dense_gradient:
            self._gradients.kept.clear()
        layers = {name: changes(self.targets[name].scheme, before[name], pruned[name], grown[name]) for name in units}
        layers = {name: layer for name, layer in layers.items() if layer.pruned_units or layer.grown_units}
        return Mutation(epoch, layers) if layers else None

    def _pruned(self, name: str, before: Tensor, count: int) -> Tensor:
        return prune(self.targets[name].scheme, before, self._score(name, self._gradients.kept.get(name)), count)

    def _grown(self, name: str, before: Tensor, pruned: Tensor, count: int) -> Tensor:
        weight, gradient = self._held.weights[name].detach() * pruned, self._gradients.kept.get(name)
        return grow(self.targets[name].scheme, pruned, before, weight, gradient, self.growth, count, self._generator)

    @torch.no_grad()
    def _apply(self, masks: dict[str, Tensor]) -> None:
        """Puts masks in force: weights, gradients and state outside them become zero now."""
        self._held.take(masks)
        self._held.zero_removed(list(masks), [self._held.weights[name].data for name in masks])
        self._held.remember_versions(masks)
        self._averages.clear(masks)
        torch.clear_autocast_cache()  # it has copies of the weights as they were, for the rest of a region
        if not self.growth.needs_dense_gradient:
            self._gradients.clear()
        for upkeep in self._upkeeps:
            upkeep.clear()

    def _listen(self) -> None:
        """Looks what the optimizers train now, and which gradients the next mutation will read.

        Growth by gradient needs the last dense gradient before each mutation and in no other epoch; a score may be
        asked at any time, by `finish` too.
        """
        for upkeep in self._upkeeps:
            upkeep.refresh()
        if self._upkeeps:
            scored, due = self.score.needs_gradient, self.schedule.due(self.epoch + 1)
            dense = self.growth.needs_dense_gradient and (scored or due) and not self.finished
            self._gradients.begin(needed=dense or (scored and not self.growth.needs_dense_gradient), dense=dense)

    def _score(self, name: str, gradient: Tensor | None) -> Tensor:
        weight = self._held.weights[name].detach().float()
        score = self.score(weight, None if gradient is None else gradient.to(weight))
        if not math.isfinite(float(score.sum())):
            raise InputError(not_finite(name))
        return score

    def _kept_units(self, name: str) -> int:
        return self._plans[name].kept_units(self.masks[name])

    def _look(self, *, attached: bool) -> None:
        """Raises InputError unless names, parameters, weights and optimizers belong together, in every process."""
        for upkeep in self._upkeeps:
            upkeep.refresh()
        for saved_with in self._saved_with:
            saved_with.refresh()
        trained = [name for upkeep in self._upkeeps for name in upkeep.layers]
        problem = (self._fit.loose(trained) if attached else None) or self._fit.problem()
        if problem is None and self._gradients.unapplied and self._held.touched(trained):
            problem = (
                "weights moved by gradients, but in no step of an attached optimizer; call attach(optimizer) for it"
            )
        if problem := together(problem):
            raise InputError(problem)
