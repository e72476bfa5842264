"""What `mest deploy` did, for a person: a block for each board, or a line for each of a list."""

from __future__ import annotations

from typing import Any

from mest.cli import within_budget


def block(one: dict[str, Any]) -> str:
    """All that is known of one board, a fact a line."""
    size, result, plan = within_budget.size, one.get("result") or {}, one.get("plan") or {}
    ended = one.get("ended") or {}
    label, before, after = _scores(result)
    rows: list[tuple[str, Any]] = [
        ("board", one["board"]),
        ("ended", one.get("refused") or (f"exit code {ended['code']}" if ended.get("code") else None)),
        ("not begun", one.get("not_begun")),
        ("active", one.get("active") or one.get("active_before")),
        ("health", _health(one.get("health"))),
        ("would install", one.get("would_install")),
        ("to copy", size(one["to_copy_bytes"]) if one.get("would_install") else None),
        ("copied", size(one["copied_bytes"]) if "copied_bytes" in one else None),
        ("planned peak", None if "refused" in plan or not plan else size(plan["planned_peak_bytes"])),
        ("measured peak", size(result.get("measured_peak_bytes"), result.get("measured_reason")) if result else None),
        (label, f"{before} before, {after} after" if before and after else None),
        ("home", one.get("home")),
        ("report", one.get("report")),
    ]
    return within_budget.table(rows)


def lines(result: dict[str, Any]) -> str:
    """The boards of a list in one table, stage after stage, and below it what went wrong."""
    head = ("board", "active", "planned peak", "measured peak", "score", "took", "ended")
    rows: list[tuple[str, ...]] = [head]
    for stage in result["stages"]:
        rows += [_line(result["boards"][name]) for name in stage["boards"]]
    wrong = [f"{name}: {one['refused']}" for name, one in result["boards"].items() if one.get("refused")]
    page = [f"side by side in {result['page']}"] if result["page"] else []
    return "\n".join([within_budget.columns(rows), *wrong, *page])


def _line(one: dict[str, Any]) -> tuple[str, ...]:
    size, result, plan, ended = within_budget.size, one.get("result") or {}, one.get("plan") or {}, one.get("ended")
    _, before, after = _scores(result)
    code = one["exit_code"]
    return (
        str(one["board"]),
        str(one.get("active") or one.get("active_before") or "-"),
        size(plan["planned_peak_bytes"]) if plan.get("planned_peak_bytes") else "-",
        size(result["measured_peak_bytes"]) if result.get("measured_peak_bytes") else "-",
        f"{before} -> {after}" if before and after else "-",
        f"{ended['seconds']:.0f} s" if ended and ended["seconds"] is not None else "-",
        "not begun" if one.get("not_begun") else "well" if not code else f"exit code {code}",
    )


def _health(found: dict[str, Any] | None) -> str | None:
    """The accuracy on the health data, beside that of the version that was active."""
    if found is None:
        return None
    other = found["other_accuracy"]
    return f"{found['accuracy']:.1%}" + ("" if other is None else f", {found['other']} {other:.1%}")


def _scores(result: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """The name of the task's metric, and its value before and after fine-tuning, as a board told them."""
    from edge.tasks.registry import CLASSIFICATION, TASKS

    told = result.get("task")
    task, name = (TASKS[told], "metric") if isinstance(told, str) and told in TASKS else (CLASSIFICATION, "accuracy")
    values = (result.get(f"{name}_before"), result.get(f"{name}_after"))
    before, after = (None if value is None else task.metric.text(value) for value in values)
    return task.metric.label, before, after
