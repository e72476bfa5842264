"""`mest board`: facts of this machine."""

from __future__ import annotations

import argparse
from typing import Any

from mest.cli.command import Command as Base
from mest.cli.command import Context
from mest.cli.within_budget import size, table


class Command(Base):
    """Show the facts of this machine: processor, memory, limits, versions, and what each engine takes before a network.

    To plan for a board elsewhere, save the facts there with --json and give the file to 'mest plan --board FILE'.
    """

    name = "board"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        pass

    def run(self, args: argparse.Namespace, context: Context) -> dict[str, Any]:
        from edge.engines.board import read_board, with_baselines

        return with_baselines(read_board())

    def show(self, result: dict[str, Any]) -> str:
        memory, clock = result["memory"], result["clock_mhz"]
        rows: list[tuple[str, Any]] = [
            (
                "architecture",
                result["architecture"] + (f", emulated by {result['emulated']}" if result["emulated"] else ""),
            ),
            ("processor", result["processor"]),
            ("cores", result["cores"]),
            ("features", ", ".join(result["features"]) or None),
            ("clock", f"{clock['now']} of {clock['highest']} MHz" if clock else None),
            ("memory", f"{size(memory['total_bytes'])}, {size(memory['available_bytes'])} available"),
            ("swap", size(memory["swap_bytes"])),
            ("page", size(result["page_bytes"])),
            ("temperature", f"{result['temperature_celsius']:.0f} °C" if result["temperature_celsius"] else None),
            ("throttled", None if result["throttled"] is None else "yes" if result["throttled"] else "no"),
            ("allocator", result["allocator"]),
            ("system", result["system"]),
            ("versions", ", ".join(f"{name} {version}" for name, version in result["versions"].items())),
        ]
        rows += [(f"limit {name}", size(nbytes)) for name, nbytes in result["limits"].items() if nbytes is not None]
        for name, facts in result["engines"].items():
            weight = size(facts["baseline_bytes"], facts.get("baseline_reason"))
            text = f"yes, {weight} before a network is loaded" if facts["available"] else f"no: {facts['reason']}"
            rows.append((f"engine {name}", text))
        return table(rows)
