"""The table and the picture of an accuracy bench, made from its records alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev, variance
from textwrap import fill
from typing import Any

from bench.accuracy_grid import METHODS, SCHEMES

TITLES = {"dense": "dense", "static": "static", "set": "SET", "rigl": "RigL", "em": "MEST+EM", "ems": "MEST+EM&S"}
# What the paper claims, at equal sparsity: each at least as good as the next.
CLAIMED_METHODS = ("ems", "em", "static")
CLAIMED_SCHEMES = ("irregular", "pattern", "block", "channel")

REMOVAL = (
    "Training EM&S without a part of the data, against the same run with all of it. Time is that of the processor, "
    "data and evaluation included, or of the clock on a GPU."
)

ORDERINGS = (
    "The paper's orderings, here (difference in points ± its standard error; open where it is less than two of them):"
)

Record = dict[str, Any]


def chosen(records: Iterable[Record], **wanted: Any) -> list[Record]:
    """The records whose fields are as wanted; without removal unless it is asked for."""
    wanted = {"remove": 0.0, **wanted}
    return [record for record in records if all(record[key] == value for key, value in wanted.items())]


def summary(values: Sequence[float], digits: int = 2) -> str:
    """Mean, standard deviation over the seeds, and how many there were."""
    if not values:
        return ""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread} ({len(values)})"


def percents(records: Iterable[Record]) -> list[float]:
    """Test accuracies after the last epoch, in percent."""
    return [100 * record["accuracy"] for record in records]


def markdown(records: Sequence[Record], about: str) -> str:
    """The whole account: settings, accuracies, the paper's orderings, and what removing data did."""
    options = shared_options(records)
    lines = [f"Setting: {about}.", "", "Options that all runs share: " + ", ".join(f"`--{k} {v}`" for k, v in options)]
    lines += ["", "Machine: " + "; ".join(sorted({machine(record) for record in records})), ""]
    lines += ["Test accuracy after the last epoch, percent, mean ± standard deviation over (n) seeds.", ""]
    lines += accuracy_table(records)
    orders = orderings(records)
    if orders:
        lines += ["", ORDERINGS, "", *orders]
    removal = removal_table(records)
    if removal:
        lines += ["", REMOVAL, "", *removal]
    return "\n".join(lines) + "\n"


def shared_options(records: Sequence[Record]) -> list[tuple[str, str]]:
    """The options that every record has with the same value."""
    first = records[0]["options"]
    return [(k, v) for k, v in sorted(first.items()) if all(record["options"].get(k) == v for record in records)]


def machine(record: Record) -> str:
    """Where and with what a run was made."""
    facts = record["circumstances"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return f"{record['device']}, {facts['machine']}, {facts['cores']} cores, {versions}"


def accuracy_table(records: Sequence[Record]) -> list[str]:
    """One row for each scheme and sparsity, one column for each method."""
    methods = [method for method in METHODS if chosen(records, method=method)]
    lines = ["| scheme | sparsity | " + " | ".join(TITLES[method] for method in methods) + " |"]
    lines += ["|---|---|" + "---|" * len(methods)]
    dense = summary(percents(chosen(records, method="dense")))
    if "dense" in methods:
        lines += ["| | 0 | " + " | ".join(dense if method == "dense" else "" for method in methods) + " |"]
    for scheme in SCHEMES:
        for sparsity in sorted({record["sparsity"] for record in chosen(records, scheme=scheme)}):
            cells = [
                summary(percents(chosen(records, method=method, scheme=scheme, sparsity=sparsity)))
                for method in methods
            ]
            lines += [f"| {scheme} | {100 * sparsity:g} % | " + " | ".join(cells) + " |"]
    return lines


def orderings(records: Sequence[Record]) -> list[str]:
    """For each claim of the paper that the records can judge: whether the means keep it, and by how much."""
    lines = []
    for sparsity in sorted({record["sparsity"] for record in records} - {0.0}):
        at = chosen(records, sparsity=sparsity)
        for scheme in SCHEMES:
            found = {method: percents(chosen(at, scheme=scheme, method=method)) for method in CLAIMED_METHODS}
            lines += _judged(f"{scheme}, {100 * sparsity:g} %", found, TITLES)
        for method in ("em", "ems"):
            found = {scheme: percents(chosen(at, scheme=scheme, method=method)) for scheme in CLAIMED_SCHEMES}
            lines += _judged(f"{TITLES[method]}, {100 * sparsity:g} %", found, {})
    return lines


def _judged(where: str, found: dict[str, list[float]], titles: dict[str, str]) -> list[str]:
    """One line for a row of claims, best first; none where fewer than two have records."""
    named = [(titles.get(name, name), values) for name, values in found.items() if values]
    pairs = [f"{better} ≥ {worse} {verdict(first, second)}" for (better, first), (worse, second) in pairwise(named)]
    return [f"- {where}: " + "; ".join(pairs)] if pairs else []


def verdict(first: Sequence[float], second: Sequence[float]) -> str:
    """Whether a first mean is at least a second; open where they differ by less than two standard errors."""
    gap = mean(first) - mean(second)
    if min(len(first), len(second)) < 2:
        return f"is open ({gap:+.2f}, one seed)"
    error = (variance(first) / len(first) + variance(second) / len(second)) ** 0.5
    judgement = "is open" if abs(gap) <= 2 * error else "holds" if gap > 0 else "does not hold"
    return f"{judgement} ({gap:+.2f} ± {error:.2f})"


def removal_table(records: Sequence[Record]) -> list[str]:
    """One row for each part removed: accuracy against all data, and the steps and the time that it saved."""
    lines = []
    for remove, at_random in sorted(
        {(record["remove"], record["at_random"]) for record in records if record["remove"]}
    ):
        less = chosen(records, remove=remove, at_random=at_random)
        pairs = [(record, _full(records, record)) for record in less]
        both = [(record, full) for record, full in pairs if full is not None]
        if not both:
            continue
        accuracy = [100 * (record["accuracy"] - full["accuracy"]) for record, full in both]
        steps = [100 * (1 - record["steps"] / full["steps"]) for record, full in both]
        seconds = [100 * (1 - spent(record) / spent(full)) for record, full in both if spent(record) and spent(full)]
        how = "at random" if at_random else "the least forgotten"
        lines += [
            f"| {100 * remove:g} %, {how} | {summary(percents(less))} | {summary(accuracy)} | {summary(steps, 1)} "
            f"| {summary(seconds, 1)} |"
        ]
    if not lines:
        return []
    head = "| removed | accuracy, % | difference to all data, points | steps saved, % | time saved, % |"
    return [head, "|---|---|---|---|---|", *lines]


def spent(record: Record) -> float | None:
    """Seconds of training: of the processor where that trained, whatever else ran on it; of the clock on a GPU."""
    seconds: float | None = record["cpu_seconds"] if record["device"] == "cpu" else record["train_seconds"]
    return seconds


def _full(records: Sequence[Record], less: Record) -> Record | None:
    """The same run with all data."""
    same = {key: less[key] for key in ("method", "scheme", "sparsity", "seed")}
    return next(iter(chosen(records, **same)), None)


def picture(records: Sequence[Record], path: Path, title: str) -> None:
    """Write the accuracies as points with their spread: a panel for each sparsity, a colour for each scheme."""
    from matplotlib.figure import Figure

    sparsities = sorted({record["sparsity"] for record in records} - {0.0})
    methods = [method for method in METHODS if method != "dense" and chosen(records, method=method)]
    schemes = [scheme for scheme in SCHEMES if chosen(records, scheme=scheme)]
    figure = Figure(figsize=(2.5 + 4 * len(sparsities), 3.6), layout="constrained")
    panels = figure.subplots(1, len(sparsities), sharey=True, squeeze=False)[0]
    dense = percents(chosen(records, method="dense"))
    for panel, sparsity in zip(panels, sparsities, strict=True):
        if dense:
            panel.axhline(mean(dense), color="grey", linestyle="--", linewidth=1, label="dense")
            if len(dense) > 1:
                low, high = mean(dense) - stdev(dense), mean(dense) + stdev(dense)
                panel.axhspan(low, high, color="grey", alpha=0.15, linewidth=0)
        for place, scheme in enumerate(schemes):
            for column, method in enumerate(methods):
                values = percents(chosen(records, method=method, scheme=scheme, sparsity=sparsity))
                if values:
                    x = column + 0.15 * (place - (len(schemes) - 1) / 2)
                    error = stdev(values) if len(values) > 1 else 0.0
                    label = scheme if method == methods[0] else None
                    panel.errorbar(x, mean(values), error, fmt="o", color=f"C{place}", capsize=3, label=label)
        panel.set_title(f"{100 * sparsity:g} % weight sparsity", fontsize=10)
        panel.set_xticks(range(len(methods)), [TITLES[method] for method in methods], fontsize=8)
        panel.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("test accuracy, %")
    panels[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(fill(title, round(11 * figure.get_figwidth())), fontsize=10)
    figure.savefig(path, dpi=150)
