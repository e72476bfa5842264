"""How far the property-based tests search: a few repeatable examples by default, many new ones on request.

    python -m pytest                                              # the same examples on every run and machine
    python -m pytest --hypothesis-profile long -k random   # new ones, for hours if you like

A counterexample that a long run finds is kept as an `@example` of its test.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

NOTHING_TIMED = {"deadline": None, "suppress_health_check": list(HealthCheck)}  # machines differ, and are shared
settings.register_profile("default", max_examples=20, derandomize=True, **NOTHING_TIMED)
settings.register_profile("long", max_examples=100_000, print_blob=True, **NOTHING_TIMED)
settings.load_profile("default")
