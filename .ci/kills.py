"""Kills deployments and installations at random moments, and looks whether anything is lost or half done afterwards.

usage: kills.py ARTIFACT DATA.npz WORK [DEPLOYS [INSTALLS [SEED]]]     needs sshd; 100 and 50 take half an hour

Every other kill of a deployment takes everything on the board with it, as a power cut does. After each kill the active
version must be a whole one that verifies, or there must be none before the first was ever active. After every fifth the
same call must finish, with the weights of a run that nobody disturbed. Not part of `.ci/run`, whose tests kill a few.
The last line is a record; bench/records/kills.json has those of three runs.
"""

from __future__ import annotations

import getpass
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "builders")]

from board_wheels import write_wheels  # noqa: E402
from loopback_sshd import MISSING, Sshd, loopback_sshd  # noqa: E402

from bench.circumstances import circumstances  # noqa: E402
from edge.files.digest import file_sha256  # noqa: E402
from edge.install.versions import Board  # noqa: E402

MEST = [sys.executable, "-m", "mest"]
EVERY = 5  # kills, after which the call is left to finish
HERE = f"linux-{os.uname().machine}"


class Count:
    """What was done, and where each kill fell."""

    def __init__(self) -> None:
        self.kills = self.too_late = self.finished = 0

    def killed(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        """Kill a process after so many seconds, unless it has ended before."""
        try:
            process.wait(seconds)
            self.too_late += 1
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.kills += 1


def begin(words: list[object], log: Path) -> subprocess.Popen[bytes]:
    """A command in a process of its own, whose words go into a file."""
    with open(log, "wb") as said:
        return subprocess.Popen([str(word) for word in words], stdout=said, stderr=said)


def finish(words: list[object], log: Path) -> float:
    """The seconds that a command takes to end well; ends this program with what it said if it does not."""
    began = time.monotonic()
    if begin(words, log).wait():
        sys.exit(f"LOST: {' '.join(map(str, words))} does not finish:\n{log.read_text()}")
    return time.monotonic() - began


def look(board: Board, was: str | None) -> str | None:
    """The active version after a kill; ends this program if it is not whole, or there is none and there was one."""
    active = board.active()
    if active is None and was is None:
        return None
    if active not in board.installed():
        sys.exit(f"HALF: {active} is active, installed are {board.installed()}")
    done = subprocess.run(
        [board.root / "active" / "start", "verify", "-q"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"HALF: {active} is active and does not verify: {done.stderr}")
    return active


def leavings(board: Board) -> None:
    """End this program if a finished call has left something half done."""
    found = [
        path for folder in ("content", "environments", "versions") for path in (board.root / folder).glob("*.part")
    ]
    found += [path for path in (board.root / "versions").iterdir() if path.name not in board.installed()]
    if found:
        sys.exit(f"LEFT: {found}")


def renewed(artifact: Path, number: int) -> Path:
    """The artifact as another version: the same network under another note."""
    manifest = artifact / "manifest.json"
    manifest.write_text(manifest.read_text().rstrip() + "\n" * (1 + number))
    return artifact


def deployments(
    artifact: Path, data: Path, wheels: Path, work: Path, server: Sshd, count: int, draw: random.Random
) -> Count:
    """Kill so many of them."""
    board, done, log = Board(server.homes["pi"] / ".mest"), Count(), work / "deploy.log"
    words: list[object] = [
        *MEST,
        "deploy",
        artifact,
        "pi",
        "--ssh-config",
        server.config,
        "--board-python",
        sys.executable,
    ]
    words += ["--wheels", wheels, "--out", work / "home", "--", "finetune", "--data", data, "--epochs", 12]
    words += ["--save-every", 10, "--memory-budget", "2GiB"]
    whole = finish(words, log)
    expected, active = weights(work / "home" / "pi"), board.active()
    while done.kills < count:
        renewed(artifact, done.finished + 1)
        for _ in range(min(EVERY, count - done.kills)):
            done.killed(begin(words, log), draw.uniform(0.05, whole))
            if done.kills % 2:
                for pid in processes_in(server.homes["pi"]):
                    os.kill(pid, signal.SIGKILL)
            active = look(board, active)
        finish(words, log)
        active = look(board, active)
        done.finished += 1
        leavings(board)
        if weights(work / "home" / "pi") != expected:
            sys.exit("LOST: the weights are not those of a run that nobody disturbed")
    return done


def weights(home: Path) -> str:
    """What a run ended with."""
    (tensors,) = (home / "state").glob("tensors-*.bin")
    return str(file_sha256(tensors))


def processes_in(home: Path) -> list[int]:
    """The processes that were started with something of this home in their words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(home / ".mest") in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def installations(artifact: Path, wheels: Path, work: Path, count: int, draw: random.Random) -> Count:
    """Kill so many of a bundle's, every other time into a place that knows none."""
    done, log, bundle, version = Count(), work / "install.log", work / "digits.bundle", 0
    place = work / "place"
    words: list[object] = [sys.executable, "-I", bundle, "install", "--place", place]
    whole, active, board = 0.0, None, Board(place)
    while done.kills < count:
        version += 1
        making = [*MEST, "bundle", renewed(artifact, version), "--target", HERE, "--wheels", wheels, "--out", bundle]
        finish([*making, "--bundle-version", version], log)
        if not whole:
            whole = finish(words, log)
        if version % 2:
            shutil.rmtree(place)
            active = None
        for _ in range(min(EVERY, count - done.kills)):
            done.killed(begin(words, log), draw.uniform(0.05, whole))
            active = look(board, active)
        finish(words, log)
        active = look(board, active)
        done.finished += 1
        leavings(board)
        if not active or not active.startswith(f"{version}-"):
            sys.exit(f"LOST: version {version} was installed, {active} is active")
    return done


def main() -> None:
    """Kill, look, and say what was found."""
    artifact, data, work = Path(sys.argv[1]), Path(sys.argv[2]).resolve(), Path(sys.argv[3]).resolve()
    deploys, installs, seed = (*map(int, sys.argv[4:7]), *(100, 50, 0)[len(sys.argv) - 4 :])
    if MISSING is not None:
        sys.exit(MISSING)
    work.mkdir()
    artifact = Path(shutil.copytree(artifact, work / "artifact"))
    wheels, draw, began = write_wheels(work / "wheels"), random.Random(seed), time.monotonic()
    with ZipFile(next(wheels.glob("tqdm*")), "a") as archive:  # so that an environment takes a while
        for number in range(300):
            archive.writestr(f"ballast/part{number}.py", f"NUMBER = {number}\n" * 100)
    with loopback_sshd(work / "sshd", ("pi",)) as server:
        deployed = deployments(artifact, data, wheels, work, server, deploys, draw)
    installed = installations(artifact, wheels, work, installs, draw)
    for name, done in (("deployments", deployed), ("installations", installed)):
        late = f"{done.too_late} of them had ended before"
        print(f"{name}: {done.kills} killed, {late}; {done.finished} calls after them finished")
    seconds = time.monotonic() - began
    print(f"nothing half active, nothing lost; seed {seed}, {seconds:.0f} s")
    about = {"circumstances": circumstances(()), "user": getpass.getuser(), "seed": seed, "seconds": round(seconds)}
    print(json.dumps({**about, "deploys": vars(deployed), "installs": vars(installed)}))


if __name__ == "__main__":
    main()
