"""The record of a run as one HTML page: facts first, then memory, learning, time, the board, and the words used."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from edge.report import html
from edge.report.charts import Bar, Segment, Series, bars, curves, memory_over_step, share_axis
from edge.report.facts import facts
from edge.report.flame import flame, tree
from edge.report.linked import linked_views, script
from edge.report.moments import KINDS, timeline
from edge.report.numbers import bytes_text, limit_text, percent_text, reading_text, score_writer, time_text
from edge.report.palette import DIRECTION_CLASS, DIRECTION_COLOURS
from edge.report.record import OperatorCost, Profile, Reading, Record, Training
from edge.report.steps import Course, course
from edge.report.tensors import PLAN_SOURCE
from edge.report.terminal import above
from edge.tasks.registry import TASKS

GLOSSARY = (
    ("Budget", "The limit on the peak resident set size of the whole process, interpreter and libraries included."),
    (
        "Resident memory",
        "The part of a process's memory that is in physical memory at this moment (resident set size).",
    ),
    ("Baseline", "What the process holds before the network is loaded: Python, numpy and the engine's library."),
    ("Planned", "What was computed, byte by byte, before the run began."),
    ("Measured", "What the kernel counted for the whole process while it ran. Nothing is sampled or estimated."),
    ("Arena", "The one block of memory a training step runs in; every tensor's place in it is fixed beforehand."),
    ("Without reuse", "The arena's size if no two tensors ever shared the same bytes."),
    ("Sparsity", "Zeros divided by all weights, over the layers that were trained sparse."),
    ("Mutation", "Removing the least important weights and growing as many others, inside the compressed form."),
    ("Micro-batch", "The samples that go through the network at once; gradients of several add up to one batch."),
    ("Recomputation", "Computing activations again in the backward pass instead of keeping them."),
)
WHY_TOOLS_DISAGREE = (
    "Two honest tools rarely give the same number for the memory of one process, because they count different things.",
    "This report measures peak resident memory: pages in physical memory, as the kernel counts them (VmHWM), with "
    "shared libraries included. A container or cgroup also counts file pages that the kernel merely keeps at hand, "
    "so its peak is larger. Tools that show virtual memory count addresses that were reserved and may never be used; "
    "tools that follow an allocator see its blocks, but neither the interpreter nor the pages it keeps after a free. "
    "A tool that samples a few times per second misses short peaks.",
    "A plan counts what will be used; the kernel counts whole pages that have been touched. So a measured peak a "
    "little below the plan is normal: not every planned byte is touched at the same time.",
)


def render(record: Record) -> str:
    """The page of a record."""
    verb = {"finetune": "Fine-tuning", "profile": "Profile of"}.get(record.command, record.command)
    lead = f"{record.engine} engine: {record.engine_reason}. {date_text(record.created)}"
    body = [html.cards(facts(record)), *sections(record)]
    foot = "Drawn from the record.json of the same run. The page carries all it shows; it needs no network."
    return html.page(f"{verb} {record.network}", lead, body, foot, script())


def date_text(created: str) -> str:
    """An ISO 8601 time as "22 November 2026, 17:04"; the text itself where it is none."""
    try:
        moment = datetime.strptime(created, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M}"


def sections(record: Record) -> list[str]:
    """Everything below the first facts, for a page of its own or as a part of a longer one."""
    parts = [memory(record), linked_views(record), shrink(record)]
    if record.training is not None:
        parts.append(learning(record.training))
    if record.profile is not None:
        parts.append(time_by_operator(record.profile, course(record)))
    return [*parts, choices(record), board(record), explanations()]


def memory(record: Record) -> str:
    """What the process holds over a step, and planned beside measured."""
    line, plan = timeline(record.plan), record.plan
    runtime = line.peak_by_kind().get("runtime", 0)
    rows = [(item.name, item.kind, bytes_text(item.nbytes)) for item in line.contributors[:20]]
    caption = (
        "One training step from left to right, as planned. The dashed line is what the process holds once its arena "
        f"has been touched: {bytes_text(line.reserved_bytes - runtime)}. Without any reuse the arena of "
        f"{bytes_text(plan.arena_bytes)} would be {bytes_text(plan.naive_bytes)}. {PLAN_SOURCE.get(record.engine, '')}"
    )
    return html.section(
        "Where the memory goes",
        html.figure(
            partial(memory_over_step, line.without("runtime"), "The network's memory over one training step, by kind"),
            f"{caption} The interpreter and its libraries come on top: {bytes_text(runtime)}.",
        ),
        html.details(
            "The same with the interpreter and its libraries",
            html.figure(
                partial(memory_over_step, line, "Memory of the whole process over one training step, by kind"),
                f"The dashed line is at {bytes_text(line.reserved_bytes)}.",
            ),
        ),
        html.details("The largest contributors at the peak", html.table(("Tensor", "Kind", "Size"), rows, numbers=1)),
        "<h3>Planned and measured</h3>",
        _planned_beside_measured(record),
    )


def _planned_beside_measured(record: Record) -> str:
    plan, measured = record.plan, record.measured
    baseline = measured.baseline_bytes
    head = ("", "Planned", "Measured", "Above baseline")
    rows = [("Baseline", bytes_text(plan.baseline_bytes), bytes_text(baseline.value), "–")]
    for name, reading in measured.phases.items():
        planned = bytes_text(plan.phases[name]) if name in plan.phases else "–"
        rows.append((name.capitalize(), planned, bytes_text(reading.value), above(reading, baseline)))
    whole = measured.peak_bytes
    rows.append(("Whole process", bytes_text(plan.peak_bytes), bytes_text(whole.value), above(whole, baseline)))
    pair = [_peak_bar("Planned peak", Reading(plan.peak_bytes), plan.baseline_bytes)]
    pair.append(_peak_bar("Measured peak", whole, baseline.value or 0))
    if record.budget_bytes is not None:
        budget = Segment(record.budget_bytes, "kind-2", "budget")
        pair.append(Bar("Budget", (budget,), bytes_text(record.budget_bytes)))
    notes = [f"Limit: {limit_text(measured.limit)}."]
    notes += [
        f"Allocator: {measured.allocator}.",
        f"Swap at its peak: {reading_text(measured.swap_peak_bytes, bytes_text)}.",
    ]
    if whole.value is None:
        notes.append(f"Peak {reading_text(whole, bytes_text)}.")
    return "".join(
        (
            html.figure(partial(bars, pair, "Planned and measured peak"), "Grey is the baseline of the process."),
            html.table(head, rows, "Resident memory of the whole process at its highest, by phase", numbers=3),
            html.paragraph(" ".join(notes)),
        )
    )


def _peak_bar(name: str, peak: Reading, baseline: float) -> Bar:
    """A peak as its baseline and what was added to it."""
    if peak.value is None:
        return Bar(name, (), "not measured")
    below = min(baseline, peak.value)
    own = Segment(peak.value - below, "kind-1", f"above the baseline: {bytes_text(peak.value - below)}")
    return Bar(name, (Segment(below, "kind-0", f"baseline: {bytes_text(below)}"), own), bytes_text(peak.value))


def learning(training: Training) -> str:
    """Loss, accuracy or another task's metric, and mutations over the run."""
    metric, parts = training.metric, []
    write = score_writer(metric)
    if len(training.steps) > 1:
        loss = Series("Loss per step", tuple((float(point.step), point.loss) for point in training.steps))
        draw = partial(curves, [loss], "Loss over the steps", "step", "{:.3g}".format, from_zero=True)
        parts.append(html.figure(draw, "Mean loss of each batch before its update; lower is better."))
    held_out = tuple((float(p.epoch), p.accuracy) for p in training.epochs if p.accuracy is not None)
    fitted = tuple((float(p.epoch), p.train_accuracy) for p in training.epochs if p.train_accuracy is not None)
    ends = _ends(training)
    lines = [Series("Held-out", held_out or ends, joined=bool(held_out)), Series("Training", fitted)]
    lines = [line for line in lines if line.points]
    if any(len(line.points) > 1 for line in lines):
        axis = share_axis if metric.is_share else write
        draw = partial(curves, lines, f"{metric.title} over the epochs", "epoch", axis)
        dots = " Held-out samples were judged before the first epoch and after the last one." if not held_out else ""
        parts.append(html.figure(draw, metric.meaning + dots * bool(ends)))
    rows = [
        ("Steps", f"{training.step_count:,}"),
        ("Time per step (median)", reading_text(training.step_ms_median, time_text)),
        (f"{metric.title} before", reading_text(training.accuracy_before, write)),
        (f"{metric.title} after", reading_text(training.accuracy_after, write)),
        *_further(training),
        ("Sparsity", reading_text(training.sparsity, percent_text)),
        ("Zeros kept", {True: "yes", False: "no", None: "not checked"}[training.zeros_kept]),
    ]
    for name, count in (("Training samples", training.samples_train), ("Held-out samples", training.samples_held_out)):
        if count is not None:
            rows.append((name, f"{count:,}"))
    if training.mutations:
        moved = sum(point.grown for point in training.mutations)
        rows.append(("Mutations", f"{len(training.mutations)}, {moved:,} weights grown in all"))
    if training.stopped_early is not None:
        rows.append(("Stopped early", training.stopped_early))
    return html.section("Training", *parts, html.table(("", "Value"), rows, numbers=1))


def _ends(training: Training) -> tuple[tuple[float, float], ...]:
    """The score on held-out samples before the first epoch and after the last, where both were taken."""
    before, after = training.accuracy_before.value, training.accuracy_after.value
    if before is None or after is None or not training.epochs:
        return ()
    return ((0.0, float(before)), (float(training.epochs[-1].epoch), float(after)))


def _further(training: Training) -> list[tuple[str, str]]:
    """What the other metrics of the task came to."""
    others = TASKS[training.task].metrics[1:]
    found = [(metric, training.metrics_after.get(metric.key)) for metric in others]
    return [(f"{each.title} after", score_writer(each)(value)) for each, value in found if value is not None]


def shrink(record: Record) -> str:
    """What would shrink the peak, as the planner counts it: one change at a time, the one that saves most first."""
    plan = record.plan
    if not plan.alternatives:
        return ""
    rows = []
    for other in plan.alternatives:
        slower = "no more" if other.time_cost <= 1 else f"{other.time_cost - 1:+.0%}".replace("%", " %")
        change = f"{other.choice.replace('_', '-')} {other.value}"
        result = "the same" if other.exact else "changes"
        peak, saved = plan.peak_bytes - other.saved_bytes, bytes_text(other.saved_bytes)
        rows.append((change, result, saved, bytes_text(peak), slower))
    bar = [
        Bar(f"--{row[0]}", (Segment(other.saved_bytes, "kind-1", f"saves {row[2]}"),), row[2])
        for row, other in zip(rows, plan.alternatives, strict=True)
    ]
    said = (
        f"The planned peak is {bytes_text(plan.peak_bytes)}. Each row is the same work with one choice changed, worked "
        "out by the planner and not run; what a step takes longer is a planning figure. Given a memory budget, the "
        "planner takes what it needs of these by itself, what leaves the result as it is first."
    )
    if sum(other.saved_bytes == plan.alternatives[0].saved_bytes for other in plan.alternatives) > 1:
        said += (
            " Where several save the same, the peak has moved from the step to where a state or the record is written."
        )
    return html.section(
        "What would shrink the peak",
        html.paragraph(said),
        html.figure(partial(bars, bar, "Bytes that a change saves"), "Bytes of the peak that each change saves."),
        html.table(("Change", "Result", "Saves", "Peak", "Time"), rows, numbers=3),
    )


def time_by_operator(profile: Profile, run: Course) -> str:
    """The operators that take the most time, forward and backward together, then every one of them."""
    whole = f"A step takes {reading_text(profile.step_ms_median, time_text)} (median of {profile.steps})."
    if not profile.operators:
        return html.section("Where the time went", html.paragraph(f"{whole} {profile.source}."))
    total = sum(cost.milliseconds for cost in profile.operators) or 1
    grouped: dict[str, list[OperatorCost]] = {}
    for cost in profile.operators:
        grouped.setdefault(cost.name, []).append(cost)
    ranked = sorted(grouped.items(), key=lambda pair: -sum(cost.milliseconds for cost in pair[1]))
    rows = [_operator_bar(name, costs, total) for name, costs in ranked[:12]]
    listing = [
        (cost.name, cost.op, cost.direction, time_text(cost.milliseconds), bytes_text(cost.nbytes))
        for cost in sorted(profile.operators, key=lambda cost: -cost.milliseconds)
    ]
    return html.section(
        "Where the time went",
        html.paragraph(f"{whole} {profile.source}: {time_text(total)} in all operators."),
        html.figure(partial(bars, rows, "Time by operator"), DIRECTION_COLOURS),
        _by_module(run),
        html.details(
            f"All {len(listing)} measurements",
            html.table(("Operator", "Type", "Direction", "Time", "Memory"), listing, numbers=2),
        ),
    )


def _by_module(run: Course) -> str:
    if not run.timed:
        return ""
    modules = tree([(step.modules, step.milliseconds) for step in run.steps])
    return html.figure(
        partial(flame, modules, time_text, "Time by module"),
        "The same time by module, both directions together: each row below is what a module is made of.",
    )


def _operator_bar(name: str, costs: list[OperatorCost], total: float) -> Bar:
    pieces = tuple(
        Segment(
            cost.milliseconds,
            DIRECTION_CLASS.get(cost.direction, "kind-0"),
            f"{cost.direction}: {time_text(cost.milliseconds)}",
        )
        for cost in costs
    )
    own = sum(cost.milliseconds for cost in costs)
    return Bar(f"{name} ({costs[0].op})", pieces, f"{time_text(own)} · {percent_text(own / total)}")


def choices(record: Record) -> str:
    """What the plan chose and what each choice costs."""
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in record.plan.notes)
    listed = f"<ul>{notes}</ul>" if notes else html.paragraph("The fastest plan fits; nothing was given up for memory.")
    return html.section(
        "What the plan chose",
        listed,
        html.details("Every choice", html.table(("Choice", "Value"), html.listing(record.choices))),
    )


def board(record: Record) -> str:
    """The machine, and the versions that ran on it."""
    facts = {name: value for name, value in record.board.items() if name != "schema"}
    if "emulated" in facts:
        facts["emulated"] = facts["emulated"] or "no"
    limits = facts.pop("limits", None)
    rows = html.listing({**facts, "versions": record.versions})
    said = "What the system does not show is said to be so, and nothing is guessed in its place."
    return html.section(
        "The board",
        html.details("All facts of this machine", html.table(("Fact", "Value"), rows), html.paragraph(said)),
        _limits(limits) if isinstance(limits, dict) else "",
    )


def _limits(limits: dict[str, Any]) -> str:
    """What limited the process: no fact of the machine, for the run sets limits too."""
    held = {name: bytes_text(x) if isinstance(x, int) else x or "none" for name, x in limits.items()}
    return html.details(
        "The limits of this process",
        html.table(("Limit", "Value"), html.listing(held)),
        html.paragraph("Read at the end of the run, with the limits that the run set itself for its budget."),
    )


def explanations() -> str:
    """The words used, the kinds of memory, and why tools disagree."""
    kinds = [(kind.capitalize(), meaning) for kind, meaning in KINDS.items()]
    return html.section(
        "Words and numbers",
        html.details("What the words mean", html.definitions(GLOSSARY)),
        html.details("The kinds of memory", html.definitions(kinds)),
        html.details("Why two honest tools disagree about memory", *map(html.paragraph, WHY_TOOLS_DISAGREE)),
    )
