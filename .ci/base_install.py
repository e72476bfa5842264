"""What a board has: the wheel and its three dependencies. Called with the artifact and the data that the demo left.

usage: base_install.py ARTIFACT DATA.npz
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def mest(*arguments: str) -> dict[str, object]:
    """The JSON object of a command, run in a process of its own; fails with what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mest", *arguments, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"mest {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def main() -> None:
    """Run every board command on the base install and hold its answers to the contract."""
    artifact, data = sys.argv[1:]
    present = [name for name in ("torch", "onnx", "yaml", "onnxruntime") if importlib.util.find_spec(name)]
    if present:
        sys.exit(f"this is no base install: {', '.join(present)} present")
    subprocess.run([sys.executable, "-m", "mest", "--help"], check=True, stdout=subprocess.DEVNULL)
    board = mest("board")
    mest("verify", artifact)
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder) / "board.json"
        facts.write_text(json.dumps(board))
        # Emulation counts no memory that could be trusted, so a plan for that board would have no baseline to stand on.
        counted = board["engines"]["native"]["baseline_bytes"] is not None  # type: ignore[index]
        elsewhere = ("--board", str(facts)) if counted else ()
        plan = mest("plan", artifact, "--memory-budget", "64MiB", "--engine", "native", *elsewhere)
        state = str(Path(folder) / "state")
        common = ("--memory-budget", "64MiB", "--engine", "native")
        tuned = mest("finetune", artifact, "--data", data, "--out", state, "--epochs", "1", "--mutate", "ems", *common)
        accuracy = mest("eval", state, "--data", data)
        mest("profile", artifact, "--out", str(Path(folder) / "profile"), "--steps", "3", "--engine", "native")
    assert tuned["zeros_kept"] is True, tuned
    if tuned["measured_peak_bytes"] is not None:  # emulation has no figure that could be trusted
        assert tuned["measured_peak_bytes"] <= tuned["budget_bytes"], tuned  # type: ignore[operator]
    print(
        f"python {sys.version.split()[0]}: planned {plan['planned_peak_bytes']}, measured"
        f" {tuned['measured_peak_bytes']}, accuracy {tuned['accuracy_before']:.3f} -> {tuned['accuracy_after']:.3f}"
        f" (eval {accuracy['accuracy']:.3f})"
    )


if __name__ == "__main__":
    main()
