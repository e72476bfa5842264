"""The files of a process without Python: by eye, and altered by strangers."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from compiled_example import Compiled, compiled, mest_run, run  # noqa: F401 - a fixture
from native_artifact import write_artifact, write_images
from native_guards import mixed

from edge.compiled.places import Places
from edge.compiled.plan import opened, read_plan, sealed
from edge.data.batches import AUGMENTS
from edge.data.npz import NUMBERS as NUMBERS_OF_NPZ
from edge.errors import BudgetError, DamagedError, InputError
from edge.libmest import header, library, plan_file
from edge.libmest.program import Operand
from edge.libmest.vocabulary import HERE, LISTS, TENSORS
from edge.plan.search import Request
from edge.run.rate import LEARNING_RATES

pytestmark = pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}")
# Altered files in all, and where their random numbers begin.
CASES = int(os.environ.get("MEST_FUZZ_CASES", "2400")) // 20
SEED = int(os.environ.get("MEST_FUZZ_SEED", "0"))


def test_the_header_is_what_the_declarations_say() -> None:
    """It was written after the last change: python -m edge.libmest.header."""
    assert header.PLAN_FILE.read_text() == header.plan_file_header()


def test_the_file_counts_what_a_run_names_as_python_does() -> None:
    """A schedule and an augmentation are numbers there, by the order of the names."""
    assert plan_file.SCHEDULES == LEARNING_RATES
    assert plan_file.AUGMENTS == AUGMENTS
    of_npz = [np.dtype(f"{kind}{nbytes}").name for kind, nbytes in NUMBERS_OF_NPZ]
    assert of_npz == list(plan_file.NUMBERS)


def test_places_by_eye() -> None:
    """What overlaps stays together, lists are apart, and what is zero lies behind and takes no room in the file."""
    zeros, values, lists = np.zeros(40, np.float32), np.arange(1, 5, dtype=np.float32), np.arange(3, dtype=np.uint16)

    def operand(array: np.ndarray, writable: bool = True) -> Operand:
        return Operand(array.ctypes.data, array.nbytes, HERE, writable)

    whole = [operand(zeros), operand(zeros[16:20]), operand(values), operand(lists, writable=False)]
    places = Places(whole)
    assert places.tensors == values.tobytes().rstrip(b"\0")
    assert places.lists[:6] == lists.tobytes()
    assert places.tensors_bytes == 64 + 192
    moved = [places.moved(one) for one in whole]
    assert [(one.segment, one.offset, one.nbytes) for one in moved] == [
        (TENSORS, 64, 160),
        (TENSORS, 64 + 64, 16),
        (TENSORS, 0, 16),
        (LISTS, 0, 6),
    ]
    assert places.find(zeros.ctypes.data + 156, 8) is None


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Compiled:
    """A plan with every kind of operator, whose weights mutate, and data for it."""
    folder, network = tmp_path_factory.mktemp("compiled"), mixed()
    artifact = write_artifact(folder / "artifact", network)
    source = write_images(folder / "images.npz", network, 13)
    return compiled(
        folder, artifact, source, Request(batch_size=4), learning_rate=0.01, epochs=1, mutate="ems", mutate_every=1
    )


def test_a_data_file_by_eye(example: Compiled) -> None:
    """A head of 48 bytes, then a label, a mark and the pixels of a channel after the other."""
    content = example.data.read_bytes()
    head = plan_file.Data.from_buffer_copy(content)
    assert (ctypes.sizeof(head), head.record_bytes, head.numbers, head.images) == (48, 8 + 432, 0, 1)
    assert len(content) == 48 + 13 * 440
    with np.load(example.source) as source:
        for number in (0, 12):
            record = content[48 + 440 * number :]
            assert np.frombuffer(record, "<i4", 2).tolist() == [source["labels"][number], 0]
            wanted = source["images"][number].transpose(2, 0, 1)
            assert record[8 : 8 + wanted.size] == wanted.tobytes()


REFUSED = {
    "no state": (["train", "PLAN", "--data", "DATA"], 2, "needs --data and --state"),
    "no such option": (["eval", "PLAN", "--data", "DATA", "--lr", "1"], 2, "no such option"),
    "no such command": (["prune", "PLAN"], 2, "allowed are train"),
    "no such file": (["info", "NEW"], 2, "No such file"),
    "no number": (["train", "PLAN", "--data", "DATA", "--state", "NEW", "--epochs", "2x"], 2, "whole number"),
    "nothing to continue": (
        ["train", "PLAN", "--data", "DATA", "--state", "NEW", "--resume"],
        2,
        "no state to continue",
    ),
    "data for a plan": (["info", "DATA"], 4, "is no compiled plan"),
    "a plan for data": (["eval", "PLAN", "--data", "PLAN"], 4, "is no data file"),
    "a plan for a state": (["eval", "PLAN", "--data", "DATA", "--state", "PLAN"], 4, "is no state"),
    "a folder that is not there": (["train", "PLAN", "--data", "DATA", "--state", "LOST"], 2, "nothing was saved"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(mest_run: Path, example: Compiled, tmp_path: Path, case: str) -> None:  # noqa: F811
    """One line that says what was given and what to do, and the exit code of the Python commands."""
    words, code, said = REFUSED[case]
    known = {"PLAN": example.plan, "DATA": example.data, "NEW": tmp_path / "new", "LOST": tmp_path / "lost" / "new"}
    done = run(mest_run, *(known.get(word, word) for word in words))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_info_shows_the_plan(mest_run: Path, example: Compiled) -> None:  # noqa: F811
    """For a person, with the instruction set that is taken; with --json what the plan was compiled from."""
    shown = run(mest_run, "info", example.plan).stdout
    assert "input          3x11x13, 5 classes" in shown
    assert f"computes with  {library.instruction_sets()[0]}" in shown
    found = json.loads(run(mest_run, "info", example.plan, "--json").stdout)
    assert found["choices"]["batch_size"] == 4
    assert found["planned_peak_bytes"] == sum(part["bytes"] for part in found["contributors"])


def test_a_state_is_not_written_over(mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """Nor continued with other data."""
    state = tmp_path / "run.state"
    words = ("train", example.plan, "--state", state)
    assert run(mest_run, *words, "--data", example.data).returncode == 0
    before = state.read_bytes()
    assert run(mest_run, *words, "--data", example.data).returncode == 2
    other = tmp_path / "other.data"
    content = bytearray(example.data.read_bytes())
    content[48] ^= 1  # a label
    other.write_bytes(content)
    done = run(mest_run, *words, "--data", other, "--resume")
    assert (done.returncode, "other data" in done.stderr) == (2, True)
    assert state.read_bytes() == before


def test_a_sample_that_is_being_written_is_left_out(mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """Another program may append: of a record that is not whole nothing is read."""
    grown = tmp_path / "grown.data"
    content = example.data.read_bytes()
    grown.write_bytes(content + content[48 : 48 + 440] + content[48 : 48 + 100])
    done = run(mest_run, "eval", example.plan, "--data", grown)
    assert done.returncode == 0
    assert "ends within a sample" in done.stderr
    assert "samples        14" in done.stdout


def test_a_budget_is_kept(mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """No plan that fits: nothing is written, and the smallest budget that would do is said."""
    from edge.compiled.compiling import CompileJob, compile_plan

    job = CompileJob(example.artifact, tmp_path / "x.mest", example.settings, lambda _: Request(batch_size=4), 1 << 18)
    with pytest.raises(BudgetError, match="memory_budget"):
        compile_plan(job)
    assert not job.out.exists()
    head = read_plan(example.plan).head
    head.budget_bytes = 1 << 18  # what a stranger wrote: the kernel refuses, or the first look at the peak does
    (tmp_path / "small.mest").write_bytes(sealed(head, example.plan.read_bytes()))
    done = run(mest_run, "eval", tmp_path / "small.mest", "--data", example.data)
    assert done.returncode == 3


def test_python_reads_only_what_was_written(example: Compiled, tmp_path: Path) -> None:
    """A plan that is cut short, altered or none is refused with what to do."""
    content = example.plan.read_bytes()
    (path := tmp_path / "cut.mest").write_bytes(content[:-1])
    with pytest.raises(DamagedError, match="SHA-256"):
        read_plan(path)
    path.write_bytes(content[:100] + b"x" + content[101:])
    with pytest.raises(DamagedError, match="SHA-256"):
        read_plan(path)
    path.write_bytes(content[:7])
    with pytest.raises(DamagedError, match="no compiled plan"):
        read_plan(path)
    with pytest.raises(InputError, match="mest compile"):
        read_plan(tmp_path / "gone.mest")


NUMBERS = (np.int32, np.int64, np.float32)
NEW = (0, 1, -1, 2**31 - 1, -(2**31))


def alterations(example: Compiled, state: Path) -> Iterator[tuple[str, bytes]]:
    """One number of one file becomes another; the digest is made to fit, as a stranger would."""
    random = np.random.default_rng(SEED)
    plan, data, kept = example.plan.read_bytes(), example.data.read_bytes(), state.read_bytes()
    plan_head = opened(example.plan, plan, plan_file.Plan, plan_file.PLAN_MAGIC, "", "")
    kept_head = opened(state, kept, plan_file.State, plan_file.STATE_MAGIC, "", "")
    for _ in range(CASES):
        which = str(random.choice(["plan", "plan", "plan", "plan", "data", "state"]))
        content = bytearray({"plan": plan, "data": data, "state": kept}[which])
        # Heads are small, and most is said there.
        end = len(content) if random.random() < 0.7 else 400
        if which == "plan":
            end = min(end, plan_head.tensors_at)
        kind = np.dtype(NUMBERS[int(random.integers(len(NUMBERS)))])
        at = int(random.integers(64, max(65, end - 8))) // 4 * 4
        number = np.frombuffer(bytes(content[at : at + kind.itemsize]), kind)[0]
        with np.errstate(all="ignore"):
            near = [number + 1, number - 1, number * 2, number + 64]
            new = np.array(random.choice([*near, *NEW]) if random.random() < 0.9 else np.nan).astype(kind)
        content[at : at + kind.itemsize] = new.tobytes()
        if which == "plan":
            head = plan_file.Plan.from_buffer_copy(bytes(content))
            if max(head.arena_bytes, head.tensors_bytes) > 1 << 26:
                continue  # a large network is nothing wrong, and takes its time
            content[:] = sealed(head, bytes(content))
        elif which == "state":
            head = plan_file.State.from_buffer_copy(bytes(content))
            content[:] = sealed(head, bytes(content))
        yield which, bytes(content)
    assert kept_head.step


def test_lists_of_a_state_are_looked_at(mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """What says which weights exist must ascend, and no more of them exist than there is room for."""
    state, altered = tmp_path / "run.state", tmp_path / "altered.state"
    assert run(mest_run, "train", example.plan, "--data", example.data, "--state", state).returncode == 0
    compiled_plan, content = read_plan(example.plan), state.read_bytes()
    begin, known = ctypes.sizeof(plan_file.State), compiled_plan.facts["tensors"]
    columns = next(entry for name, entry in known.items() if name.endswith("/columns"))
    counts = compiled_plan.facts["counts"]["offset"]
    width = np.dtype(columns["dtype"]).itemsize
    for offset, number in ((columns["offset"], b"\xff" * width), (counts, b"\xff\xff\xff\x7f"), (counts, b"\0" * 8)):
        changed = bytearray(content)
        changed[begin + offset : begin + offset + len(number)] = number
        altered.write_bytes(sealed(plan_file.State.from_buffer_copy(content), bytes(changed)))
        for words in (["train", "--resume"], ["eval"]):
            done = run(mest_run, words[0], example.plan, "--data", example.data, "--state", altered, *words[1:])
            assert (done.returncode, "index lists" in done.stderr) == (4, True), done.stderr


def test_altered_files_never_crash(mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """They are refused, or compute within their memory: no signal, no report of a sanitizer."""
    state = tmp_path / "run.state"
    assert run(mest_run, "train", example.plan, "--data", example.data, "--state", state).returncode == 0
    codes: dict[int, int] = {}
    for number, (which, content) in enumerate(alterations(example, state)):
        files = {"plan": example.plan, "data": example.data, "state": state}
        files[which] = tmp_path / f"altered.{which}"
        files[which].write_bytes(content)
        new = tmp_path / "new.state"
        new.unlink(missing_ok=True)
        words = ["train", files["plan"], "--data", files["data"], "--state", new, "--epochs", 1, "--quiet"]
        if which == "state":
            words = ["train", files["plan"], "--data", files["data"], "--state", files["state"], "--resume", "--quiet"]
        done = run(mest_run, *words)
        assert done.returncode in (0, 2, 3, 4), (SEED, number, which, done.returncode, done.stderr[-2000:])
        codes[done.returncode] = codes.get(done.returncode, 0) + 1
    assert codes.get(4, 0) > CASES // 10
