"""A deployment as a user would do it, against a real sshd on 127.0.0.1, with real wheels and an emulated board.

usage: deploy.py BOARD_PYTHON ARTIFACT DATA.npz WORK     BOARD_PYTHON runs on 64-bit ARM; needs sshd, pip and ziglang

Bundle, deploy, fine-tune with the connection cut while it runs, report home; the same again; a second version; back to
the first; and a federated round of that board's, for which this machine speaks.
"""

from __future__ import annotations

import getpass
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "builders")]

from loopback_sshd import MISSING, Sshd, loopback_sshd  # noqa: E402

from edge.handover.artifact import open_artifact  # noqa: E402
from export.flower.boards import Boards  # noqa: E402
from export.flower.gateway import train_on_boards  # noqa: E402
from export.flower.layout import layout_of_artifact, weights_of  # noqa: E402
from export.flower.orders import Order, Place  # noqa: E402
from export.flower.rounds import Trained  # noqa: E402


def mest(*words: object, then: tuple[object, ...] = ()) -> dict:
    """The JSON object of a command, `then` follows its options; its messages go where ours go."""
    command = [sys.executable, "-m", "mest", *map(str, words), "--json", *map(str, then)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    found: dict = json.loads(done.stdout)
    return found


class CutOnceRunning(threading.Thread):
    """Cuts every connection of a server once, as soon as a run has begun to speak; `cut` is how many there were."""

    def __init__(self, server: Sshd, board: str) -> None:
        super().__init__(daemon=True)
        self.cut = 0
        self._server = server
        self._logs = server.homes[board] / ".mest" / "jobs"

    def run(self) -> None:
        """Wait for the run, and cut."""
        while not any(log.stat().st_size for log in self._logs.glob("*/said.log")):
            time.sleep(0.05)
        while not self.cut:
            self.cut = self._server.cut()


def round_there(artifact: Path, data: Path, work: Path, config: Path, python: str) -> Trained:
    """What the board makes of the artifact's weights in a round; raises where it cannot take part."""
    listed = work / "boards.yaml"
    listed.write_text("boards:\n- pi\n")
    boards = Boards.read({"boards": str(listed), "board-python": python, "ssh-config": str(config)})
    assert boards is not None
    opened = open_artifact(artifact)
    layout = layout_of_artifact(opened)
    begun = weights_of(layout, layout.parameters)
    place = Place(artifact, str(data), work / "rounds", memory_budget="64MiB")
    done = train_on_boards(boards, place, opened, layout, begun, Order())
    assert all((done.weights.masks[name] == mask).all() for name, mask in begun.masks.items())
    assert any((done.weights.values[name] != values).any() for name, values in begun.values.items())
    return done


def main() -> None:
    """Walk the whole way and hold every answer to what it should be."""
    python, artifact, data, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    if MISSING is not None:
        print(f"LEFT OUT: {MISSING}")
        return
    work.mkdir()
    bundle, home = work / "digits.bundle", work / "boards"
    made = mest("bundle", artifact, "--target", "linux-aarch64", "--python", "3.11", "--out", bundle)
    assert mest("bundle", "--check", bundle) == made
    tuning = ("--", "finetune", "--data", data, "--epochs", 1, "--memory-budget", "64MiB")
    with loopback_sshd(work / "sshd", ("pi",)) as server:

        def deploy(*words: object, then: tuple[object, ...] = ()) -> dict:
            given = ("--ssh-config", server.config, "--board-python", python, "--out", home)
            found: dict = mest("deploy", bundle, "pi", *given, *words, then=then)["boards"]["pi"]
            return found

        cutting = CutOnceRunning(server, "pi")
        cutting.start()
        first = deploy(then=tuning)
        assert cutting.cut > 0
        assert first["machine"] == "aarch64", first
        assert first["result"]["zeros_kept"] is True, first
        again = deploy(then=tuning)
        assert (again["copied_bytes"], again["result"]) == (0, first["result"]), again
        accuracy = mest("eval", home / "pi" / "state", "--data", data)["accuracy"]
        other = Path(shutil.copytree(artifact, work / "artifact"))
        manifest = other / "manifest.json"
        manifest.write_text(manifest.read_text() + "\n")  # the same network, and other bytes
        mest("bundle", other, "--target", "linux-aarch64", "--python", "3.11", "--out", bundle)
        second = deploy()
        assert second["version"] == 2, second
        assert second["copied_bytes"] < 100_000, second  # the wheels are there
        back = deploy("--rollback")
        assert back["active"] == first["active"] != second["active"], back
        joined = round_there(artifact, data, work, server.config, python).facts
    result = first["result"]
    print(
        f"emulated {first['machine']} of user {getpass.getuser()}, {cutting.cut} connections cut:"
        f" {first['copied_bytes']} bytes copied, then {second['copied_bytes']}; accuracy"
        f" {result['accuracy_before']:.3f} -> {result['accuracy_after']:.3f} there, {accuracy:.3f} of its state here;"
        f" a round there {joined['pi/score-before']:.3f} -> {joined['pi/score-after']:.3f},"
        f" {joined['pi/copied-bytes']} bytes sent, {joined['pi/run-seconds']:.0f} of {joined['pi/seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
