"""One and ten steps of every engine against PyTorch, for every scheme, format and kind of network.

Tolerances: one step as `export.checks.agreement.compare` states them (about 1e-3 of a parameter's update against
float64); ten steps, loss 1e-4 and weights 1e-4 of their largest value against float32, because PyTorch itself drifts
that far.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSES, INPUT, make_source
from torch import nn

from edge.plan.choices import OptimizerChoice
from edge.weight.formats import decode
from export.artifact import build, observe, write_ort
from export.capture import Captured
from export.checks.agreement import NUDGES, DisagreementError, Expected, compare, make_batch
from export.checks.observe import Observed
from export.checks.verify import expect
from export.kept import cut
from export.options import Options
from export.ort.files import missing
from export.ort.session import Session
from export.rebuild import from_ort
from export.source import Source

CASES = [
    ("irregular", "csr"),
    ("irregular", "masked"),
    ("block", "auto"),
    ("block", "csr"),
    ("pattern", "auto"),
    ("channel", "auto"),
    ("channel", "masked"),
    ("irregular", "dense"),
]
OPTIMIZERS = {
    "momentum": OptimizerChoice(kind="sgd", momentum=0.9, weight_decay=0.01),
    "plain": OptimizerChoice(kind="sgd", momentum=0.0, weight_decay=0.0),
    "adamw": OptimizerChoice(kind="adamw", weight_decay=0.01),
}
ort = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.mark.parametrize("family", ["resnet", "mobilenet", "vgg"])
@pytest.mark.parametrize(("scheme", "format"), CASES)
def test_one_step_of_every_engine_is_that_of_pytorch(
    models: dict[str, nn.Module],
    captures: Callable[[str, Source], Captured],
    tmp_path: Path,
    family: str,
    scheme: str,
    format: str,
) -> None:
    """Logits, loss, updated weights and running statistics agree, and zeros stay zero."""
    source = make_source(models[family], family, scheme, 0.75)
    for kind in ("momentum", "adamw") if format == "auto" else ("momentum",):
        optimizer, smoothing = OPTIMIZERS[kind], 0.1
        built = build(source, captures(family, source), Options(format=format))
        files = write_ort(built, optimizer, smoothing, "em", tmp_path)
        assert files.reason == missing()
        batch = make_batch(INPUT, CLASSES, optimizer.kind)
        held = () if format == "dense" else tuple(source.layers)
        expected = expect(source, built.trained, held, batch, optimizer, smoothing)
        for seen in observe(built, files.represented, batch, optimizer, smoothing, tmp_path):
            assert compare(expected, seen, built.kept, seen.engine != "ort") < 1
            assert set(built.trained) <= set(seen.updated)


@ort
@pytest.mark.parametrize("kind", list(OPTIMIZERS))
@pytest.mark.parametrize(("family", "scheme"), [("resnet", "block"), ("mobilenet", "pattern"), ("vgg", "irregular")])
def test_ten_steps_follow_pytorch_and_zeros_stay(
    models: dict[str, nn.Module],
    captures: Callable[[str, Source], Captured],
    tmp_path: Path,
    family: str,
    scheme: str,
    kind: str,
) -> None:
    """After ten steps over batches of changing size, loss, weights and zeros are those of masked PyTorch training."""
    source, optimizer = make_source(models[family], family, scheme, 0.75), OPTIMIZERS[kind]
    built = build(source, captures(family, source), Options(room="ems"))
    represented = write_ort(built, optimizer, 0.0, "ems", tmp_path).represented
    assert represented is not None
    session = Session(tmp_path)
    rate = 1e-3 if kind == "adamw" else 0.02
    theirs = _pytorch_optimizer(source.model, optimizer, rate)
    generator = np.random.default_rng(3)
    model = source.model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for step in range(10):
        count = 6 + step % 3
        images = generator.standard_normal((count, *INPUT)).astype(np.float32)
        labels = generator.integers(0, CLASSES, count)
        loss, _ = session.train_step(images, labels, rate)
        wanted = nn.functional.cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(labels))
        theirs.zero_grad()
        wanted.backward()
        for name, layer in source.layers.items():
            model.get_parameter(name).grad.mul_(torch.from_numpy(layer.mask))
        theirs.step()
        assert loss == pytest.approx(wanted.item(), abs=1e-4)
    parts = {name: written.as_json() for name, written in represented.items()}
    ours = from_ort(built.network, parts, session.parameters())
    for name, value in model.named_parameters():
        wanted_value = cut(value.detach().numpy(), built.kept.get(name))
        if kind == "adamw" and name.endswith("bias"):
            continue  # a bias in front of batch norm moves by the sign of rounding noise
        found = decode(ours[name])
        assert np.abs(found - wanted_value).max() <= 1e-4 * max(1.0, np.abs(wanted_value).max())
        if name in source.layers:
            assert not found[~source.layers[name].mask].any()


@ort
def test_running_statistics_move_and_evaluation_uses_them(
    models: dict[str, nn.Module], captures: Callable[[str, Source], Captured], tmp_path: Path
) -> None:
    """Training moves the running mean as PyTorch's momentum says, and the evaluation graph sees the new one."""
    source = make_source(models["resnet"], "resnet", "irregular", 0.5)
    built = build(source, captures("resnet", source), Options())
    write_ort(built, OPTIMIZERS["plain"], 0.0, "em", tmp_path)
    session = Session(tmp_path)
    images, labels = np.full((4, *INPUT), 2.0, np.float32), np.zeros(4, np.int64)
    before, (_, logits) = session.parameter("bn1.running_mean"), session.evaluate(images, labels)
    session.train_step(images, labels, 0.0)
    model = source.model.train()
    with torch.no_grad():
        model(torch.from_numpy(images))
    assert not np.array_equal(before, session.parameter("bn1.running_mean"))
    np.testing.assert_allclose(session.parameter("bn1.running_mean"), model.bn1.running_mean.numpy(), atol=1e-6)
    assert not np.array_equal(logits, session.evaluate(images, labels)[1])


def _pytorch_optimizer(model: nn.Module, choice: OptimizerChoice, rate: float) -> torch.optim.Optimizer:
    if choice.kind == "adamw":
        return torch.optim.AdamW(model.parameters(), rate, weight_decay=choice.weight_decay)
    return torch.optim.SGD(model.parameters(), rate, choice.momentum, weight_decay=choice.weight_decay)


BENT = 3e-7  # more than float32 rounds the input of the ReLU by, less than a nudge moves it


def at_a_bend(source: Source, image: torch.Tensor, distance: float) -> Source:
    """The same with hidden unit 0 this far above the bend of its ReLU on one image."""
    model = copy.deepcopy(source.model)
    hidden = model[1]
    with torch.no_grad():
        hidden.bias[0] = 0
        hidden.bias[0] = distance - hidden.double()(image.double().flatten())[0]
        hidden.float()
    return replace(source, model=model)


def test_a_step_at_a_bend_of_relu_is_judged_by_what_rounding_may_do() -> None:
    """An engine that is on the other side of zero agrees once nudges are counted; a wrong step never does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(INPUT)), 4), nn.ReLU(), nn.Linear(4, CLASSES))
    plain = Source(model, {}, INPUT, tuple(map(str, range(CLASSES))), {}, OptimizerChoice(), 0.0, {"model": "bend"})
    batch = make_batch(INPUT, CLASSES, "sgd")
    image = torch.from_numpy(batch.images[0])
    trained = [name for name, _ in model.named_parameters()]

    def step(distance: float, nudges: int) -> Expected:
        return expect(at_a_bend(plain, image, distance), trained, (), batch, OptimizerChoice(), 0.0, nudges=nudges)

    one, other = step(BENT, 0), step(-BENT, 0)
    moved = {name: other.updated[name] - other.before[name] for name in trained}
    engine = Observed(
        "other side", other.logits, other.loss, one.before, {name: one.before[name] + moved[name] for name in trained}
    )
    with pytest.raises(DisagreementError, match=r"engine other side: 1\.(weight|bias) differs from PyTorch"):
        compare(one, engine, {}, True)
    assert compare(step(BENT, NUDGES), engine, {}, True) < 1
    for name in ("3.weight", "3.bias"):
        wrong = {**engine.updated, name: one.before[name] + 1.05 * moved[name]}
        with pytest.raises(DisagreementError, match=f"{name} differs"):
            compare(step(BENT, NUDGES), replace(engine, updated=wrong), {}, True)
