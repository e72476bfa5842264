"""What every answer of an engine says of the run behind it: who answered, what was planned, what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.run.session import Session


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Bytes of the whole process; None where no figure can be trusted, with the reason."""

    engine: str
    engine_reason: str
    budget_bytes: int | None
    planned_peak_bytes: int
    measured_peak_bytes: int | None
    measured_reason: str | None
    baseline_bytes: int | None


def measured(session: Session) -> dict[str, Any]:
    """The fields of `Measured`, of a session as it stands now."""
    return {
        "engine": session.plan.engine,
        "engine_reason": session.why,
        "budget_bytes": session.budget_bytes,
        "planned_peak_bytes": session.plan.peak_bytes,
        "measured_peak_bytes": session.meter.peak,
        "measured_reason": session.meter.reason,
        "baseline_bytes": session.baseline_bytes,
    }
