"""What the demo must show; any of these failing fails it."""

from __future__ import annotations

from dataclasses import dataclass

from mest.demo.walk import MIB, Walk

FOREIGN = ("torch", "onnx")


@dataclass(frozen=True)
class Check:
    """A promise, whether it was kept, and the numbers."""

    name: str
    passed: bool
    said: str


def checks(walk: Walk) -> tuple[Check, ...]:
    """Accuracy rises, zeros stay zero, the peak stays within half of PyTorch's, and the board needs neither library."""
    return (_accuracy(walk), _zeros(walk), _budget(walk), _imports(walk))


def failure(found: tuple[Check, ...]) -> str | None:
    """One line that names every check that failed, or None."""
    failed = [f"{check.name}: {check.said}" for check in found if not check.passed]
    return "; ".join(failed) or None


def _accuracy(walk: Walk) -> Check:
    # What `mest eval` finds in the state that was left behind, not what the run said of itself.
    before, after = walk.finetune.result["accuracy_before"], walk.after.result["accuracy"]
    said = f"{100 * before:.1f} % of the new sensor's digits were read right before, {100 * after:.1f} % after"
    return Check("Accuracy rises", after > before, said)


def _zeros(walk: Walk) -> Check:
    result = walk.finetune.result
    asked = walk.settings.sparsity
    said = (
        f"{100 * result['sparsity']:.1f} % of the weights in the sparse layers are zero, asked were {100 * asked:.0f} %"
    )
    # A layer never keeps more than its target, so the sparsity cannot fall below it.
    return Check("Zeros are kept", bool(result["zeros_kept"]) and result["sparsity"] >= asked - 1e-9, said)


def _budget(walk: Walk) -> Check:
    peak, budget = walk.finetune.result["measured_peak_bytes"], walk.budget_bytes
    pytorch = walk.reference.result["measured_peak_bytes"]
    limit = f"the budget was {budget / MIB:.0f} MiB, PyTorch took {pytorch / MIB:.0f} MiB"
    if peak is None:
        reason = walk.finetune.result["measured_reason"]
        return Check("The peak stays within the budget", False, f"not measured ({reason}); {limit}")
    within = peak <= budget and 2 * budget <= pytorch
    return Check("The peak stays within the budget", within, f"{peak / MIB:.1f} MiB at the peak; {limit}")


def _imports(walk: Walk) -> Check:
    found = [name for name in FOREIGN if name in walk.finetune.imported]
    said = (
        f"it imported {' and '.join(found)}"
        if found
        else f"of {len(walk.finetune.imported)} modules that it imported, none belongs to them"
    )
    return Check("Fine-tuning needs neither torch nor onnx", not found, said)
