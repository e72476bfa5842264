"""What the demo must show; any of these failing fails it."""

from __future__ import annotations

from dataclasses import dataclass

from mest.demo.walk import MARGIN, MIB, Walk

FOREIGN = ("torch", "onnx")
ROOM = MIB // 2  # budgets are typed in tenths of a MiB, and a plan's baseline varies by a few of them


@dataclass(frozen=True)
class Check:
    """A promise, whether it was kept, and the numbers."""

    name: str
    passed: bool
    said: str


def checks(walk: Walk) -> tuple[Check, ...]:
    """Accuracy rises, zeros stay zero, the peak stays within a budget that presses, the board needs neither library."""
    return (_accuracy(walk), _zeros(walk), _budget(walk), _imports(walk))


def failure(found: tuple[Check, ...]) -> str | None:
    """One line that names every check that failed, or None."""
    failed = [f"{check.name}: {check.said}" for check in found if not check.passed]
    return "; ".join(failed) or None


def _accuracy(walk: Walk) -> Check:
    # What `mest eval` finds in the state that was left behind, not what the run said of itself.
    before, after = walk.result("finetune")["accuracy_before"], walk.result("eval")["accuracy"]
    new = walk.settings.scenario.new
    said = f"{100 * before:.1f} % of {new} were classified correctly before, {100 * after:.1f} % after"
    return Check("Accuracy rises", after > before, said)


def _zeros(walk: Walk) -> Check:
    result, asked = walk.result("finetune"), walk.settings.scenario.sparsity
    share = f"{100 * result['sparsity']:.1f} % of the weights in the sparse layers are zero"
    said = f"{share}; the target is {100 * asked:.0f} %"
    # A layer never keeps more than its target, so the sparsity cannot fall below it.
    return Check("Zeros are kept", bool(result["zeros_kept"]) and result["sparsity"] >= asked - 1e-9, said)


def _budget(walk: Walk) -> Check:
    peak, budget = walk.result("finetune")["measured_peak_bytes"], walk.budget_bytes
    pytorch = walk.result("pytorch")["measured_peak_bytes"]
    limit = (
        f"the budget was {budget / MIB:.1f} MiB, a tenth above the {walk.least_bytes / MIB:.1f} MiB that the plan "
        f"names as the least; with {walk.refused_bytes / MIB:.1f} MiB it refused to start; "
        f"PyTorch took {pytorch / MIB:.0f} MiB"
    )
    if peak is None:
        reason = walk.result("finetune")["measured_reason"]
        return Check("The peak stays within the budget", False, f"not measured ({reason}); {limit}")
    presses = budget <= MARGIN * walk.least_bytes + ROOM and walk.refused_bytes < walk.least_bytes
    within = peak <= budget and 2 * budget <= pytorch
    return Check("The peak stays within the budget", within and presses, f"{peak / MIB:.1f} MiB at the peak; {limit}")


def _imports(walk: Walk) -> Check:
    imported = walk.done["finetune"].imported
    found = [name for name in FOREIGN if name in imported]
    if not imported:
        return Check("Fine-tuning needs neither torch nor onnx", False, "its log does not say what it imported")
    said = (
        f"it imported {' and '.join(found)}"
        if found
        else f"None of the {len(imported)} packages that it imported belongs to them"
    )
    return Check("Fine-tuning needs neither torch nor onnx", not found, said)
