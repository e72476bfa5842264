"""Kills mest-run at random moments, while it trains and mutates, continues it, and looks whether anything is lost.

usage: kills_without_python.py ARTIFACT DATA WORK [KILLS [SEED]]     300 kills take a few minutes

Only kills that come before the end of a run count. After each of them the state must be a whole one, which
`mest-run eval` reads, or there must be none before the first was ever saved. After every fifth try the run must end in
the very bytes of one that nobody disturbed, and begins anew. Not part of `.ci/run`.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from edge.libmest.targets import build_for

EVERY = 5  # tries, after which a run is left to finish
TARGET = "linux-x86_64"


def main() -> None:
    """Kill, look, and say what was found."""
    artifact, data, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    kills, seed = (*map(int, sys.argv[4:6]), *(300, 0)[len(sys.argv) - 4 :])
    work.mkdir()
    program, plan, samples, state = (work / name for name in ("mest-run", "plan.mest", "samples.data", "run.state"))
    build_for(TARGET, program)
    course = ["--batch-size", "8", "--epochs", "3", "--lr", "0.005", "--save-every", "3", "--augment", "crop-flip"]
    course += ["--mutate", "ems", "--mutate-every-steps", "2", "--gradient-weight", "0.5"]
    subprocess.run(["mest", "compile", artifact, "--data", data, *course, "--out", plan, "-q"], check=True)
    subprocess.run(["mest", "pack", data, "--for", plan, "--out", samples, "-q"], check=True)
    began, draw = time.monotonic(), random.Random(seed)
    words = [str(word) for word in (program, "train", plan, "--data", samples, "--quiet", "--state")]
    started = time.monotonic()
    subprocess.run([*words, str(work / "whole.state")], check=True, stdout=subprocess.DEVNULL)
    whole, expected = time.monotonic() - started, (work / "whole.state").read_bytes()
    done = late = finished = saved = 0
    while done < kills:
        state.unlink(missing_ok=True)
        for _ in range(EVERY):
            had = state.exists()
            ended = killed([*words, str(state), *(["--resume"] if had else [])], draw.uniform(0, whole / 2))
            late, done = late + ended, done + (not ended)
            if state.exists():
                saved += 1
                look([str(word) for word in (program, "eval", plan, "--data", samples, "--state", state)])
            elif had:
                sys.exit("LOST: the state is gone")
        end = [*words, str(state), *(["--resume"] if state.exists() else [])]
        subprocess.run(end, check=True, stdout=subprocess.DEVNULL)
        finished += 1
        if state.read_bytes() != expected:
            sys.exit("LOST: the end is not that of a run that nobody disturbed")
        others = {path.name for path in work.iterdir()} - {
            "mest-run",
            "plan.mest",
            "samples.data",
            "run.state",
            "whole.state",
        }
        if others:
            sys.exit(f"LEFT: {', '.join(sorted(others))}")
    print(f"{done} killed, {late} more had ended before; {saved} times there was a state afterwards")
    print(f"{finished} runs continued to the very bytes of one that nobody disturbed; seed {seed}")
    print(f"{time.monotonic() - began:.0f} s")


def killed(words: list[str], seconds: float) -> bool:
    """Kill a process after so many seconds; True if it had ended before."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def look(words: list[str]) -> None:
    """End this program if a state cannot be evaluated."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"HALF: a state cannot be read: {done.stderr}")


if __name__ == "__main__":
    main()
