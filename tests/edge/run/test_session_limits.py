"""The limit stands at the budget, whatever the number of threads: what they hold is touched from the start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from finetune_example import environment
from native_artifact import write_artifact
from native_networks import Builder

from edge.engines.available import engine_available
from edge.host.counters import untrusted_reason

MIB = 1 << 20
USABLE, MISSING = engine_available("native")
pytestmark = [
    pytest.mark.skipif(not USABLE, reason=f"needs the native engine: {MISSING}"),
    pytest.mark.skipif(untrusted_reason() is not None, reason=f"needs true counters: {untrusted_reason()}"),
]

# Trains a step with about 15 MiB of the budget left, then takes memory until the first refusal.
TAKE = """
import json, sys
from pathlib import Path
import numpy as np
from edge.handover.artifact import open_artifact
from edge.host.counters import read_counters
from edge.plan.process import DataNeeds
from edge.plan.search import Request
from edge.run.session import Board, Session

path, threads, group = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if group == "none":
    import edge.host.limits
    edge.host.limits.join_group = lambda limit: None
board, artifact = Board(), open_artifact(path)
request = Request(batch_size=8, threads=threads)
plan = Session(board, artifact, "native", request, DataNeeds(), None)
budget = plan.plan.peak_bytes + (15 << 20)
plan.close()
with Session(board, artifact, "native", request, DataNeeds(), budget) as session:
    images, labels = np.zeros((8, *artifact.shape), np.float32), np.arange(8) % 4
    session.engine.train_step(images, labels, 0.01)
    left, limits = budget - read_counters().resident, session.guarantee.limits
    taken, held = 0, []
    try:
        while taken < (200 << 20):
            held.append(np.ones(1 << 18, np.uint8))
            taken += held[-1].nbytes
    except MemoryError:
        pass
    held.clear()
print(json.dumps({"left": left, "taken": taken, "limits": limits}))
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    """A small network."""
    b = Builder((3, 16, 16), 4)
    network = b.head(b.relu(b.norm(b.conv(b.relu(b.norm(b.conv("input", 16))), 16, fmt="block"))))
    return write_artifact(tmp_path_factory.mktemp("limits") / "artifact", network)


@pytest.mark.parametrize("group", ["none", "granted"])
@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_what_is_left_can_be_taken_and_no_more(artifact: Path, threads: int, group: str) -> None:
    """The first refusal comes where the budget ends, as an error and not as a kill, under a control group too."""
    command = [sys.executable, "-c", TAKE, str(artifact), str(threads), group]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
    found = json.loads(done.stdout)
    if group == "granted" and not any(limit.startswith("cgroup") for limit in found["limits"]):
        pytest.skip("needs a control group that may be made here")
    assert 12 * MIB < found["left"] < 20 * MIB
    assert abs(found["taken"] - found["left"]) < 1.5 * MIB, {name: found[name] / MIB for name in ("left", "taken")}


def test_stacks_that_are_refused_are_a_refused_allocation(artifact: Path) -> None:
    """Not a failure to start threads: the message is that of the budget."""
    code = """
import resource, sys
from pathlib import Path
from edge.handover.artifact import open_artifact
from edge.host.counters import read_counters
from edge.engines.native.engine import NativeEngine
from edge.plan.choices import Choices
network = open_artifact(Path(sys.argv[1])).network
NativeEngine.of(network, Choices(batch_size=8, micro_batch=8)).close()
limit = read_counters().private + (16 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    NativeEngine.of(network, Choices(batch_size=8, micro_batch=8, threads=1000))
except MemoryError as error:
    assert "stacks of 999 threads" in str(error), error
    sys.exit(7)
"""
    command = [sys.executable, "-c", code, str(artifact)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 7, done.stderr
