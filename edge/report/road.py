"""The page of a whole road: what was promised and kept, pictures, training, hand-over, and the run on the board."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from edge.report import html, page
from edge.report.charts import Bar, Segment, Series, bars, curves, share_axis
from edge.report.facts import Fact
from edge.report.linked import script
from edge.report.numbers import bytes_text, percent_text, time_text
from edge.report.record import Record


@dataclass(frozen=True)
class Sample:
    """A sample as it was learnt and as the board meets it, both as markup, and its class before and after."""

    label: str
    old: str
    new: str
    read_before: str
    read_after: str


@dataclass(frozen=True)
class Epoch:
    """One epoch of the workstation's training, all as shares; None where no accuracy was taken.

    `replaced`: weights that its mutation removed and grew elsewhere, of those kept.
    """

    epoch: int
    train_accuracy: float
    validation_accuracy: float | None
    sparsity: float
    replaced: float


@dataclass(frozen=True)
class Layer:
    """One sparse layer as handed over, with its counted bytes beside the dense size."""

    name: str
    layout: str
    sparsity: float
    nbytes: int
    dense_bytes: int


@dataclass(frozen=True)
class Contender:
    """The same fine-tuning as another tool did it; bytes are resident memory of its process, None if not measured."""

    name: str
    baseline_bytes: int | None
    peak_bytes: int | None
    step_ms: float | None
    accuracy_after: float
    build: str = ""  # which build of the tool, where that decides what it holds at rest


@dataclass(frozen=True)
class Stage:
    """One command of the road, as a person would type it; without seconds where it was not timed."""

    command: str
    seconds: float | None


@dataclass(frozen=True)
class Road:
    """All that the page shows. The first contender is ours; `record` is its run."""

    title: str
    lead: str  # what was won
    about: str  # what was done, in a clause or two
    promises: tuple[Fact, ...]
    heading: str  # what the board meets
    shift: str  # how that differs from what was learnt, one clause
    samples: tuple[Sample, ...]
    training: tuple[Epoch, ...]
    held_out: str  # the samples that the workstation tested on
    test_accuracy: float  # on those
    layers: tuple[Layer, ...]
    contenders: tuple[Contender, ...]
    refusal: str  # what was said of a budget that is a little too small
    stages: tuple[Stage, ...]
    page_command: str  # makes this page from what the stages left
    record: Record
    notes: tuple[str, ...] = ()
    by_hand: str = ""  # a page beside this one that is trained in the browser; none where empty


def render(road: Road) -> str:
    """The page of the road."""
    body = [
        html.paragraph(road.about),
        html.cards(road.promises),
        "".join(html.paragraph(note) for note in road.notes),
        _pictures(road),
        _by_hand(road.by_hand),
        _comparison(road.contenders, road.record.budget_bytes),
        _refused(road),
        _training(road),
        _handing_over(road.layers),
        *page.sections(road.record),
        _commands(road),
    ]
    foot = "Every number on this page comes from the run that it describes; none was typed in."
    return html.page(road.title, road.lead, body, foot, script())


def _pictures(road: Road) -> str:
    count = len(road.samples)
    before = sum(sample.read_before != sample.label for sample in road.samples)
    after = sum(sample.read_after != sample.label for sample in road.samples)
    return html.section(
        road.heading,
        html.paragraph(
            f"Left of each pair is what the network learnt on, right what the board meets: {road.shift}. Below stands "
            "how the right one was classified before fine-tuning, and after."
        ),
        html.pairs(_pair(sample) for sample in road.samples),
        html.paragraph(f"Of these {count}, {before} were misclassified before fine-tuning and {after} after."),
    )


def _pair(sample: Sample) -> html.Pair:
    said = [f"{read} {'✓' if read == sample.label else '✗'}" for read in (sample.read_before, sample.read_after)]
    return html.Pair(sample.old, sample.new, " → ".join(said))


def _by_hand(address: str) -> str:
    if not address:
        return ""
    said = (
        "The page below holds the network and everything that trains it, and works without a connection, on a phone "
        "too: draw digits in your own hand, say which they are, train, and see them read."
    )
    return html.section("In your own hand", html.paragraph(said), html.links([("Draw, train, read", address)]))


def _comparison(contenders: tuple[Contender, ...], budget_bytes: int | None) -> str:
    rows = [
        _contender_bar(contender, "kind-1" if not place else "kind-4") for place, contender in enumerate(contenders)
    ]
    if budget_bytes is not None:
        rows.insert(1, Bar("Budget", (Segment(budget_bytes, "kind-2", "budget"),), bytes_text(budget_bytes)))
    table = [
        (
            one.name,
            bytes_text(one.baseline_bytes),
            bytes_text(one.peak_bytes),
            time_text(one.step_ms),
            percent_text(one.accuracy_after),
        )
        for one in contenders
    ]
    head = ("", "At rest", "Peak", "Step (median)", "Accuracy after")
    return html.section(
        "The same fine-tuning, side by side",
        html.paragraph(
            "Same data, same start, same schedule, each in a process of its own, measured by the kernel. At rest is "
            "what a process holds before it loads the network: the interpreter and its libraries."
        ),
        html.paragraph(" ".join(_at_rest(one) for one in contenders)),
        html.figure(
            partial(bars, rows, "Peak memory of the same fine-tuning"), "Grey is what each process holds at rest."
        ),
        html.table(head, table, numbers=4),
    )


def _at_rest(one: Contender) -> str:
    """What a process holds at rest and what its work adds, in a sentence."""
    build = f" ({one.build})" if one.build else ""
    if one.peak_bytes is None or one.baseline_bytes is None:
        return f"{one.name}{build}: not measured."
    added = bytes_text(one.peak_bytes - one.baseline_bytes)
    share = percent_text(one.baseline_bytes / one.peak_bytes) if build and one.peak_bytes else ""
    own = f": {share} of its peak is this build before any work" if share else ""
    return f"{one.name}{build} holds {bytes_text(one.baseline_bytes)} at rest, and fine-tuning adds {added}{own}."


def _refused(road: Road) -> str:
    return html.section(
        "A little less is refused",
        html.paragraph(
            "The budget above is the least that the plan names, and a tenth. With less than the least nothing starts, "
            "and the refusal says what takes the memory and what would do:"
        ),
        html.quote(road.refusal),
    )


def _contender_bar(one: Contender, class_: str) -> Bar:
    if one.peak_bytes is None:
        return Bar(one.name, (), "not measured")
    below = min(one.baseline_bytes or 0, one.peak_bytes)
    baseline = Segment(below, "kind-0", f"baseline: {bytes_text(below)}")
    own = Segment(one.peak_bytes - below, class_, f"above the baseline: {bytes_text(one.peak_bytes - below)}")
    return Bar(one.name, (baseline, own), bytes_text(one.peak_bytes))


def _training(road: Road) -> str:
    """Accuracy and sparsity over the workstation's epochs."""
    fitted = tuple((float(epoch.epoch), epoch.train_accuracy) for epoch in road.training)
    held = tuple((float(e.epoch), e.validation_accuracy) for e in road.training if e.validation_accuracy is not None)
    zeros = Series("Sparsity", tuple((float(epoch.epoch), epoch.sparsity) for epoch in road.training))
    moved = Series("Weights replaced", tuple((float(epoch.epoch), epoch.replaced) for epoch in road.training))
    lines = [Series(name, points) for name, points in (("Validation", held), ("Training", fitted)) if points]
    parts = []
    if lines:
        draw = partial(curves, lines, "Accuracy while training sparse", "epoch", share_axis)
        parts.append(html.figure(draw, "Share of samples classified correctly."))
    if road.training:
        draw = partial(curves, [zeros, moved], "Sparsity and mutation", "epoch", share_axis, from_zero=True)
        caption = (
            "Zeros over all weights of the sparse layers, and the share of the others that each mutation replaced."
        )
        parts.append(html.figure(draw, caption))
    said = (
        "The network is sparse from its first step: at each mutation the least important weights go and others grow. "
        f"At the end it classifies {percent_text(road.test_accuracy)} of {road.held_out} correctly."
    )
    return html.section("Sparse training on the workstation", html.paragraph(said), *parts)


def _handing_over(layers: tuple[Layer, ...]) -> str:
    rows = [
        (
            layer.name,
            layer.layout,
            percent_text(layer.sparsity),
            bytes_text(layer.nbytes),
            bytes_text(layer.dense_bytes),
        )
        for layer in layers
    ]
    total, dense = sum(layer.nbytes for layer in layers), sum(layer.dense_bytes for layer in layers)
    said = f"The sparse layers take {bytes_text(total)}, indices included; dense they would take {bytes_text(dense)}."
    table = html.table(("Layer", "Format", "Sparsity", "Bytes", "Dense"), rows, numbers=3)
    return html.section("Handing it over", html.paragraph(said), html.details("Layer by layer", table))


def _commands(road: Road) -> str:
    rows = [
        (stage.command.split(" > ", 1)[0], time_text(stage.seconds * 1000)) for stage in road.stages if stage.seconds
    ]
    timed = [html.details("How long each took", html.table(("Command", "Time"), rows, numbers=1))] if rows else []
    first = "mkdir -p said"
    return html.section(
        "Do it yourself",
        html.paragraph(
            "These commands are all that ran, in this order, with the folder of this page as the current one; in an "
            "empty folder they make it again. Two of them end with exit code 3, on purpose. The file commands.sh "
            "beside this page holds them; a click selects a command."
        ),
        html.commands([first, *(stage.command for stage in road.stages), road.page_command]),
        *timed,
    )
