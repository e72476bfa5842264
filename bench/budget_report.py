"""The budget bench's table, made from its record alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MIB = 1 << 20
Row = dict[str, Any]

COLUMNS = (
    "engine", "trained", "budget", "plan", "planned peak", "measured peak", "ms a sample", "accuracy before → after",
    "of PyTorch's peak", "× its speed", "of ORT's peak", "× its speed",
)  # fmt: skip


def markdown(record: dict[str, Any]) -> str:
    """Circumstances, settings, the table, what the smallest budgets are, and what was refused."""
    lines = [circumstances_line(record), "", settings_line(record), ""]
    lines += table(record["rows"])
    lines += ["", *(smallest_line(name, found) for name, found in record["smallest"].items())]
    lines += [f"- {over_line(row)}" for row in record["rows"] if passed_its_bounds(row)]
    return "\n".join(lines) + "\n"


def circumstances_line(record: dict[str, Any]) -> str:
    """Machine, versions, commit, and how busy it was."""
    facts = record["circumstances"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    load = "–".join(f"{value:.1f}" for value in record["load"])
    return (
        f"{facts['machine']}, {facts['architecture']}, {facts['cores']} cores, {record['threads']} threads, load "
        f"{load}; Python {facts['python']}, {versions}; commit {facts['commit']}; {record['seconds']:.0f} s in all."
    )


def settings_line(record: dict[str, Any]) -> str:
    """What every row did, and to which network."""
    tune, network = record["finetuning"], record["network"]
    return (
        f"{network['model']}, block scheme, {network['sparsity']:.1%} weight sparsity, {network['made']}; "
        f"{network['accuracy']:.1%} on {tune['test_images']} test images as it was trained on. Fine-tuned on "
        f"{tune['images']} other images as another sensor sees them ({tune['sensor']}): {tune['epochs']} epochs, batch "
        f"{tune['batch_size']}, SGD with momentum, cosine from {tune['lr']:g}, EM&S mutation every "
        f"{tune['mutate_every']} steps. MiB of the whole process as the kernel counts it; the median step, data apart."
    )


def table(rows: Sequence[Row]) -> list[str]:
    """One line for each row; ratios to the better of PyTorch's layouts and to onnxruntime-training."""
    torch = [row for row in rows if row["engine"].startswith("PyTorch") and row["ok"]]
    ort = [row for row in rows if row["engine"] == "ort" and row["ok"]]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for row in rows:
        head = [row["engine"], row["trained"], "none" if row["budget_mib"] is None else f"{row['budget_mib']:g}"]
        if not row["ok"]:
            cells = [*head, f"exit {row['exit']}: {row['said']}"]
            lines.append("| " + " | ".join([*cells, *[""] * (len(COLUMNS) - len(cells))]) + " |")
            continue
        cells = [
            *head,
            row["plan"],
            mib(row["planned_peak_bytes"]),
            mib(row["measured_peak_bytes"]),
            f"{row['sample_ms']:.2f}",
            f"{row['accuracy_before']:.1%} → {row['accuracy_after']:.1%}",
            *ratios(row, torch),
            *ratios(row, ort),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def ratios(row: Row, others: Sequence[Row]) -> tuple[str, str]:
    """Peak as a share of the lowest, speed as a multiple of the fastest of the others; empty beside themselves."""
    if not others or row in others:
        return "", ""
    peak = row["measured_peak_bytes"] / min(other["measured_peak_bytes"] for other in others)
    return f"{peak:.3f}", f"{min(other['sample_ms'] for other in others) / row['sample_ms']:.2f}"


def mib(nbytes: int | None) -> str:
    """MiB to a tenth; empty where there is no such figure."""
    return "" if nbytes is None else f"{nbytes / MIB:.1f}"


def smallest_line(name: str, found: dict[str, Any]) -> str:
    """What the smallest budget is by plan, and which one a run kept."""
    if found["planned_mib"] is None:
        return f"- Smallest budget, {name}: not found, {found['tries'][-1]['said']}"
    planned = f"- Smallest budget, {name}: {found['planned_mib']:g} MiB by the plan"
    if found["confirmed_mib"] is None:
        return f"{planned}, kept by no run up to {found['tries'][-1]['budget_mib']:g} MiB: {found['tries'][-1]['said']}"
    if found["confirmed_mib"] == found["planned_mib"]:
        return f"{planned}, kept by the run."
    return f"{planned}, but {found['confirmed_mib']:g} MiB by the run: {found['tries'][0]['said']}"


def passed_its_bounds(row: Row) -> bool:
    """True if more was measured than planned, or than the budget."""
    peak = row.get("measured_peak_bytes")
    if not row["ok"] or peak is None or row["planned_peak_bytes"] is None:
        return False
    return peak > row["planned_peak_bytes"] or bool(row["budget_mib"] and peak > row["budget_mib"] * MIB)


def over_line(row: Row) -> str:
    """Which bound a row passed, and by how much."""
    peak, planned, budget = row["measured_peak_bytes"], row["planned_peak_bytes"], row["budget_mib"]
    text = f"{row['engine']}, {row['trained']}, budget {budget}: measured {(peak - planned) / MIB:+.1f} MiB to the plan"
    return text + (f", {peak / MIB - budget:+.1f} MiB to the budget" if budget else "")


def plan_words(result: dict[str, Any]) -> str:
    """A plan in a cell: micro-batches, recomputation, and batch norm where it is frozen."""
    plan = result["plan"]
    words = [f"micro-batches of {plan['micro_batch']}" if plan["micro_batch"] < result["batch_size"] else "whole batch"]
    if plan["recompute"] != "none":
        words.append(f"{plan['recompute']} recomputed")
    if plan.get("saved", "float32") != "float32":  # records from before there was a choice lack it
        words.append(f"{plan['saved']} kept")
    if plan["batch_norm"] == "frozen":
        words.append("batch norm frozen")
    return ", ".join(words) + ("" if plan["exact"] else " (not exact)")
