"""A small record with every part filled in, small enough to check by eye."""

from __future__ import annotations

from edge.plan.footprint import Buffer, Item
from edge.report.record import (
    EpochPoint,
    Limit,
    Measured,
    MutationPoint,
    OperatorCost,
    Plan,
    Profile,
    Reading,
    Record,
    StepPoint,
    Training,
)

MIB = 1 << 20

PLAN = Plan(
    baseline_bytes=20 * MIB,
    peak_bytes=36 * MIB,
    arena_bytes=12 * MIB,
    naive_bytes=18 * MIB,
    items=(Item("weights", "values", 3 * MIB), Item("indices", "columns", 1 * MIB)),
    buffers=(
        Buffer("conv1.output", "saved activations", 8 * MIB, 0, 2),
        Buffer("conv1.scratch", "workspace", 2 * MIB, 1, 1),
        Buffer("loss.gradient", "workspace", 4 * MIB, 2, 2),
    ),
    steps=("conv1 forward", "fc forward", "conv1 backward", "update"),
    phases={"train": 36 * MIB},
    notes=("Recomputes nothing.",),
)

RECORD = Record(
    command="finetune",
    created="2026-03-04T05:06:00+00:00",
    network="tiny <script>alert(1)</script> & co",
    engine="native",
    engine_reason="it fits",
    board={"architecture": "x86_64", "memory_bytes": 512 * MIB, "temperature": {"value": None, "reason": "no sensor"}},
    choices={"batch_size": 32, "optimizer": {"kind": "sgd"}},
    plan=PLAN,
    measured=Measured(
        baseline_bytes=Reading(19 * MIB),
        peak_bytes=Reading(35 * MIB),
        swap_peak_bytes=Reading(0),
        limit=Limit("RLIMIT_DATA", "growth is refused.", 40 * MIB),
        phases={"load": Reading(21 * MIB), "train": Reading(35 * MIB)},
        allocator="glibc",
    ),
    budget_bytes=40 * MIB,
    training=Training(
        step_count=2,
        step_ms_median=Reading(12.5),
        accuracy_before=Reading(0.5),
        accuracy_after=Reading(0.75),
        sparsity=Reading(0.9),
        zeros_kept=True,
        steps=(StepPoint(1, 2.0, 12.0), StepPoint(2, 1.0, 13.0)),
        epochs=(EpochPoint(0, 2.0, 0.5), EpochPoint(1, 1.0, 0.75)),
        mutations=(MutationPoint(1, 10, 10),),
        samples_train=64,
        samples_held_out=32,
    ),
    profile=Profile(
        source="timed inside the engine's own step",
        steps=2,
        step_ms_median=Reading(6.0),
        operators=(
            OperatorCost("conv1", "conv", "forward", 2.0, 8 * MIB),
            OperatorCost("conv1", "conv", "backward", 4.0, None),
            OperatorCost("fc", "linear", "forward", 0.5, 1024),
        ),
    ),
    versions={"mest": "0"},
)
