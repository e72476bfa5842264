"""The few answers a reader looks for first, in words, drawn from a record: shared by terminal and page."""

from __future__ import annotations

from dataclasses import dataclass

from edge.report.moments import timeline
from edge.report.numbers import bytes_text, percent_text, points_text, reading_text, score_writer
from edge.report.record import Measured, Record, Training


@dataclass(frozen=True)
class Fact:
    """A question, its answer, a sentence behind it; `good` is None where nothing is won or lost."""

    question: str
    answer: str
    detail: str
    good: bool | None = None


def facts(record: Record) -> tuple[Fact, ...]:
    """The first facts of a run: memory against the budget, accuracy, zeros, and where the memory went."""
    found = [_memory(record)]
    if record.training is not None:
        found += [_accuracy(record.training), _zeros(record.training)]
    return (*found, _largest(record))


def _memory(record: Record) -> Fact:
    planned, measured = bytes_text(record.plan.peak_bytes), record.measured
    if record.budget_bytes is None:
        detail = f"Planned {planned}; no budget was given. {_baseline(measured)}"
        return Fact("How much memory did it take?", _short(measured), detail)
    question, budget = "Did it fit the budget?", bytes_text(record.budget_bytes)
    if record.within_budget is None:
        return Fact(
            question,
            "Not known",
            f"Peak {reading_text(measured.peak_bytes, bytes_text)}. Planned {planned} of {budget}.",
        )
    if measured.swap_peak_bytes.value:
        swapped = f"{bytes_text(measured.swap_peak_bytes.value)} went to swap, so the run does not count as within it."
        return Fact(question, "No", f"Measured peak {_short(measured)} of {budget}, but {swapped}", good=False)
    share = (measured.peak_bytes.value or 0) / record.budget_bytes if record.budget_bytes else 0
    detail = f"{_short(measured)} at the peak is {percent_text(share)} of {budget}; planned {planned}."
    return Fact(question, "Yes" if record.within_budget else "No", detail, good=record.within_budget)


def _short(measured: Measured) -> str:
    return bytes_text(measured.peak_bytes.value)


def _baseline(measured: Measured) -> str:
    return f"The baseline was {reading_text(measured.baseline_bytes, bytes_text)}."


def _accuracy(training: Training) -> Fact:
    metric, before, after = training.metric, training.accuracy_before, training.accuracy_after
    question, write = f"Did {metric.label} {'rise' if metric.higher_is_better else 'fall'}?", score_writer(metric)
    if before.value is None or after.value is None:
        detail = f"Before: {reading_text(before, write)}; after: {reading_text(after, write)}."
        return Fact(question, "Not known", detail)
    change = after.value - before.value
    held_out = f" on {training.samples_held_out:,} held-out samples" if training.samples_held_out else ""
    detail = f"{write(before.value)} before, {write(after.value)} after{held_out}."
    by = points_text(change) if metric.is_share else f"{change:+.3g}".replace("-", "−")
    gained = metric.better(after.value, before.value)
    answer = "No change" if not change else f"{'Yes' if gained else 'No'}, {by}"
    return Fact(question, answer, detail, good=gained)


def _zeros(training: Training) -> Fact:
    question, share = "Are the zeros still zero?", reading_text(training.sparsity, percent_text)
    if training.zeros_kept is None:
        return Fact(question, "Not checked", f"Sparsity {share} over the sparse layers.")
    answer = "Yes, all of them" if training.zeros_kept else "No"
    detail = f"{share} of the weights in the sparse layers are exactly zero."
    return Fact(question, answer, detail, good=training.zeros_kept)


def _largest(record: Record) -> Fact:
    line = timeline(record.plan)
    ranked = sorted(line.peak_by_kind().items(), key=lambda pair: -pair[1])
    total = sum(nbytes for _, nbytes in ranked) or 1
    detail = ", ".join(f"{kind} {bytes_text(nbytes)} ({percent_text(nbytes / total)})" for kind, nbytes in ranked[:3])
    answer = f"Mostly {ranked[0][0]}" if ranked else "Nothing was planned"
    return Fact("Where did the memory go?", answer, f"At the planned peak: {detail or 'nothing'}.")
