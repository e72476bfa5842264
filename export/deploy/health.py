"""What a board's comparison of two versions on held-out samples means for a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.deploy.channel import RefusedError


def judge(found: Mapping[str, Any], version: str, drop: float) -> str:
    """What is said of a version that may be active; raises RefusedError, exit code 4, for one that is worse.

    `found` is the answer of `edge.install.health.compare`; `drop` the share of the samples that may be lost.
    """
    said, other = f"{version} has {found['accuracy']:.1%} on the health data", found["other"]
    if other is None:
        return f"{said}; nothing to compare with"
    if found["other_accuracy"] is None:
        return f"{said}; {other} was not compared: {found['unknown']}"
    said = f"{said}, {other} {found['other_accuracy']:.1%}"
    if not found["worse"]:
        return said
    back = found["back"]
    kept = f"{version} was not activated" if back is None else f"{back} is active again"
    raise RefusedError(f"{said}, and at most {drop:.1%} less is allowed; {kept}", 4)
