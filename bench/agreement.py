"""How far every engine is from PyTorch after one step and after ten: largest differences by model, scheme and format.

One step, from the same weights on one batch of noise, is judged as an export is (`compare` of
`export.checks.agreement`): logits, loss, every parameter and running statistic against float64, the share of the
tolerance that the worst of them takes. Ten steps of SGD with momentum and weight decay, on ten batches, are compared by
the loss of every step and, over all trained weights and over all running statistics together, by the Euclidean distance
from PyTorch in float64, relative to the values. PyTorch's own float32 stands beside them, because nothing can be nearer
than that by more than chance:

python -m bench.agreement [--models resnet32,vgg19,torchvision:mobilenet_v2] [--batch 16] [--only TEXT]
    [--json FILE] [--table]

With --json each case is added to the file when it is done, in the place of an older record of the same case; --table
prints the file's table and runs nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.circumstances import circumstances
from edge.engines.native.engine import NativeEngine
from edge.network import Network
from edge.plan.choices import Choices, OptimizerChoice
from edge.tasks.registry import CLASSIFICATION, TASKS
from edge.weight.formats import decode
from edge.weight.parameter import Parameter
from export.artifact import Built, build, judge, write_ort
from export.capture import capture
from export.checks.observe import native_missing
from export.graph import shapes
from export.kept import cut
from export.options import Options
from export.ort.represent import OrtFiles
from export.ort.session import Session
from export.rebuild import from_native, from_ort
from export.source import Source
from export.sparse_layer import SparseLayer
from mest.errors import InputError
from mest.models import ModelSpec, build_model
from mest.sparse import parse_scheme, select_targets
from mest.sparse.counts import kept_units
from mest.tasks.registry import TASKS as MODEL_TASKS

INPUT, CLASSES = (3, 32, 32), 10
MODELS = ("resnet32", "vgg19", "torchvision:mobilenet_v2")
OPTIMIZER = OptimizerChoice(momentum=0.9, weight_decay=1e-4)
STEPS, RATE = 10, 0.001
# Tolerances of ten steps: a share, or a multiple of PyTorch's own float32 error where that is more.
TEN_STEPS_SHARE, FLOOR_FACTOR = 1e-4, 20.0


@dataclass(frozen=True)
class Case:
    """A scheme at a sparsity, stored in a format, with or without recomputed blocks."""

    scheme: str
    format: str
    sparsity: float = 0.9
    recompute: str = "none"

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.scheme}, {self.format}" + (", recomputed" if self.recompute != "none" else "")


CASES = (
    Case("irregular", "csr"),
    Case("irregular", "masked"),
    Case("irregular", "dense"),
    Case("block", "block"),
    Case("block", "block", recompute="blocks"),
    Case("pattern", "pattern"),
    Case("channel", "channel", 0.5),
    Case("channel", "masked", 0.5),
)


def make_source(
    name: str,
    scheme: str,
    sparsity: float,
    input: tuple[int, ...] = INPUT,
    classes: int = CLASSES,
    task: str = CLASSIFICATION.name,
) -> Source | None:
    """A model with fresh weights, sparse as `mest train --sparsity` would have it; None if the scheme fits no layer."""
    model = build_model(ModelSpec(name, classes, input, MODEL_TASKS[task]), seed=0).eval()
    form = parse_scheme(scheme)
    layers = {}
    try:
        targets = select_targets(model, form, sparsity=sparsity).targets
    except InputError:  # not one layer that the scheme could take
        return None
    for path in targets:
        weight = model.get_parameter(path)
        opened = form.open(weight.detach().abs())
        count = kept_units(form, tuple(weight.shape), sparsity)
        units = form.keep(form.unit_scores(weight.detach().abs() * opened), form.alive(opened), count)
        mask = form.expand(units, tuple(weight.shape)) & opened
        with torch.no_grad():
            weight.mul_(mask)
        layers[path] = SparseLayer(path, form.name, 4 if form.name == "block" else None, sparsity, mask.numpy())
    names = tuple(str(number) for number in range(classes))
    return Source(model, layers, input, names, {}, task=TASKS[task])


def compare(name: str, case: Case, batch: int = 16, referee: Referee | None = None) -> dict[str, Any] | None:
    """Differences of one case after one and ten steps, by engine; None if the scheme fits no layer of the model.

    Raises DisagreementError where one step is not PyTorch's.
    """
    referee = referee or Referee()
    source = make_source(name, case.scheme, case.sparsity)
    if source is None:
        return None
    built = build(source, capture(source.model, INPUT), Options(format=case.format, recompute=case.recompute))
    with tempfile.TemporaryDirectory() as folder:
        files = write_ort(built, OPTIMIZER, 0.0, "em", Path(folder), case.recompute)
        return {
            "model": name,
            **vars(case),
            "case": case.name,
            "layers": len(source.layers),
            "one_step": one_step(source, built, case, files, Path(folder)),
            "ten_steps": ten_steps(built, files, Path(folder), batch, *referee.taken(name, case, source, built, batch)),
        }


def one_step(source: Source, built: Built, case: Case, files: OrtFiles, folder: Path) -> dict[str, dict[str, float]]:
    """By engine: the share of the tolerance that the worst value takes, the largest difference of weights, and loss."""
    expected, observed, agreement = judge(built, source, case.format, files.represented, OPTIMIZER, 0.0, folder)
    found = {}
    for seen in observed:
        weights = [
            float(
                np.abs(value - cut(expected.updated[name], built.kept.get(name)).reshape(value.shape)).max(initial=0.0)
            )
            for name, value in seen.updated.items()
            if name in built.trained
        ]
        loss = abs(seen.loss - expected.loss) / expected.loss
        found[seen.engine] = {"share": agreement[seen.engine], "weight": max(weights), "loss": loss}
    return found


def ten_steps(
    built: Built, files: OrtFiles, folder: Path, batch: int, exact: Taken, rounded: Taken
) -> dict[str, dict[str, float]]:
    """By engine, and for PyTorch's float32: relative differences from float64 of losses, weights and statistics."""
    found = {"torch float32": _differences(rounded, exact, built)}
    if files.represented is not None:
        found["ort"] = _differences(_ort_steps(built, files, folder, batch), exact, built)
    if native_missing() is None and built.native_reason is None:
        found["native"] = _differences(_native_steps(built, batch), exact, built)
    return found


def worst_share(differences: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """By engine, the largest of its ten-step differences over what is allowed; above 1 is too much."""
    floor = differences["torch float32"]
    return {
        engine: max(value / max(TEN_STEPS_SHARE, FLOOR_FACTOR * floor[kind]) for kind, value in found.items())
        for engine, found in differences.items()
        if engine != "torch float32"
    }


@dataclass(frozen=True, eq=False)
class Taken:
    """Losses of the steps, and dense values by name at the end. `unbiased`: the kind of running variance."""

    losses: list[float]
    values: dict[str, np.ndarray]
    biased_variance: dict[str, np.ndarray]
    unbiased: bool = True


class Referee:
    """PyTorch's ten steps in float64 and float32, taken once for all formats of a scheme."""

    def __init__(self) -> None:
        self._taken: dict[tuple[Any, ...], tuple[Taken, Taken]] = {}

    def taken(self, name: str, case: Case, source: Source, built: Built, batch: int) -> tuple[Taken, Taken]:
        """The steps in both precisions; with masked gradients unless the format is dense."""
        masked = case.format != "dense"
        key = (name, case.scheme, case.sparsity, masked, batch)
        if key not in self._taken:
            steps = [_torch_steps(source, built, masked, batch, dtype) for dtype in (torch.float64, torch.float32)]
            self._taken = {key: (steps[0], steps[1])}  # the next case is of the same scheme, or none is any more
        return self._taken[key]


def _batches(batch: int, network: Network, input: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ten batches of coarse patterns, one per class, under noise: pooled white noise alone is nearly constant.

    Samples are of the shape `input`; targets are the patterns' numbers, or noise of another task.
    """
    generator = np.random.default_rng(7)
    channels, height, width = network.input
    patterns = generator.standard_normal((network.classes, channels, 4, 4))
    patterns = patterns.repeat(-(-height // 4), axis=2)[:, :, :height].repeat(-(-width // 4), axis=3)[..., :width]
    for _ in range(STEPS):
        labels = generator.integers(0, network.classes, batch)
        images = patterns[labels] + 0.5 * generator.standard_normal((batch, *network.input))
        targets = labels if network.task.of_classes else network.task.noise(batch, network.output, generator)
        yield images.astype(np.float32).reshape(batch, *input), targets


def _torch_steps(source: Source, built: Built, masked: bool, batch: int, dtype: torch.dtype) -> Taken:
    model = copy.deepcopy(source.model).to(dtype).train()
    parameters = dict(model.named_parameters())
    held = {path: layer for path, layer in source.layers.items() if masked and path in built.trained}
    masks = {path: torch.from_numpy(layer.mask) for path, layer in held.items()}
    biased: dict[str, np.ndarray] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            biased[f"{path}.running_var"] = module.running_var.numpy().copy()
            module.register_forward_hook(_biased(biased, f"{path}.running_var"))
    trained = [parameters[name] for name in built.trained]
    optimizer = torch.optim.SGD(trained, RATE, OPTIMIZER.momentum, weight_decay=OPTIMIZER.weight_decay)
    losses, task = [], MODEL_TASKS[built.network.task.name]
    for images, labels in _batches(batch, built.network, source.input):
        samples = torch.from_numpy(images).to(dtype)
        wanted = task.against(samples, torch.from_numpy(labels))
        outputs = model(samples)
        answers = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        loss = task.loss_sum(answers, wanted) / task.terms(wanted, batch, lambda counted: counted)
        optimizer.zero_grad()
        loss.backward()
        for path, mask in masks.items():
            gradient = parameters[path].grad
            assert gradient is not None
            gradient.mul_(mask)
        optimizer.step()
        losses.append(float(loss.detach()))
    values = {name: value.detach().numpy().astype(np.float64) for name, value in model.state_dict().items()}
    return Taken(losses, values, biased)


def _biased(kept: dict[str, np.ndarray], name: str) -> Any:
    """A hook that follows the running variance as onnxruntime has it, over n samples and not n − 1."""

    def hook(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        others = [axis for axis in range(inputs[0].ndim) if axis != 1]
        variance = inputs[0].detach().var(others, unbiased=False).numpy()
        kept[name] = (1 - module.momentum) * kept[name] + module.momentum * variance

    return hook


def _ort_steps(built: Built, files: OrtFiles, folder: Path, batch: int) -> Taken:
    session, (_, *input) = Session(folder), shapes(built.forward)[built.forward.graph.input[0].name]
    batches = _batches(batch, built.network, tuple(int(size or 0) for size in input))
    losses = [session.train_step(images, labels, RATE)[0] for images, labels in batches]
    parts = {name: written.as_json() for name, written in (files.represented or {}).items()}
    return Taken(losses, _dense(from_ort(built.network, parts, session.parameters())), {}, unbiased=False)


def _native_steps(built: Built, batch: int) -> Taken:
    engine = NativeEngine.of(built.network, Choices(batch_size=batch, micro_batch=batch, optimizer=OPTIMIZER))
    try:
        batches = _batches(batch, built.network, built.network.input)
        losses = [engine.train_step(images, labels, RATE).loss for images, labels in batches]
        return Taken(losses, _dense(from_native(built.network, engine.snapshot())), {})
    finally:
        engine.close()


def _dense(parameters: Mapping[str, Parameter]) -> dict[str, np.ndarray]:
    return {
        name: np.array(value.values) if value.format == "channel" else np.array(decode(value))
        for name, value in parameters.items()
    }


def _differences(taken: Taken, exact: Taken, built: Built) -> dict[str, float]:
    """Relative: of the loss the largest over the steps, of weights and statistics the distance over the size of all."""
    losses = [abs(ours - theirs) / abs(theirs) for ours, theirs in zip(taken.losses, exact.losses, strict=True)]
    found = {"loss": max(losses)}
    for kind, names in (("weights", built.trained), ("statistics", built.captured.statistics)):
        distance = size = 0.0
        for name in names:
            wanted = exact.values[name] if taken.unbiased else exact.biased_variance.get(name, exact.values[name])
            wanted = cut(wanted, built.kept.get(name)) if taken.values[name].size != wanted.size else wanted
            wanted = wanted.reshape(taken.values[name].shape)  # native kernels over windows have a row
            distance += float(np.sum((taken.values[name] - wanted) ** 2))
            size += float(np.sum(wanted**2))
        found[kind] = (distance / size) ** 0.5 if size else 0.0
    return found


def markdown(records: list[dict[str, Any]]) -> str:
    """The table of docs/artifact.md: worst engine of one step, and each of ten steps beside PyTorch's float32."""
    lines = [
        "| model | scheme, format | one step: share of tolerance, weight, loss | ten steps, ort: loss, weights, "
        "statistics | native | PyTorch float32 |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        one = record["one_step"].values()
        cells = [
            record["model"].removeprefix("torchvision:"),
            record["case"],
            f"{max(step['share'] for step in one):.2f}, "
            + ", ".join(f"{max(step[kind] for step in one):.0e}" for kind in ("weight", "loss")),
        ]
        for engine in ("ort", "native", "torch float32"):
            found = record["ten_steps"].get(engine)
            cells.append("not here" if found is None else ", ".join(f"{value:.0e}" for value in found.values()))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", action="store_true", help="print the table of --json and stop")
    options = parser.parse_args()
    torch.set_num_threads(1)
    where = circumstances(("numpy", "torch", "onnx", "onnxruntime-training-cpu"))
    records: list[dict[str, Any]] = []
    referee = Referee()
    if options.json and options.json.is_file():
        records = json.loads(options.json.read_text())
    for name in () if options.table else options.models.split(","):
        for case in CASES:
            if options.only not in case.name:
                continue
            found = compare(name, case, options.batch, referee)
            print(name, case.name, "no layer" if found is None else worst_share(found["ten_steps"]), flush=True)
            if found is None:
                continue
            records = [old for old in records if (old["model"], old["case"]) != (name, case.name)]
            records.append({**found, "batch": options.batch, "circumstances": where})
            if options.json:
                options.json.write_text(json.dumps(sorted(records, key=_place), indent=1) + "\n")
    print(markdown(sorted(records, key=_place)))


def _place(record: dict[str, Any]) -> tuple[int, int]:
    names = [case.name for case in CASES]
    return [*MODELS, record["model"]].index(record["model"]), names.index(record["case"])


if __name__ == "__main__":
    main()
