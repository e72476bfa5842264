"""The library as WebAssembly under Node: the run of mest-run from the same plan and data, its state, its refusals."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiled_example import Compiled, compiled, program_without_fma, run
from native_artifact import write_artifact, write_images
from native_networks import resnet

from edge.compiled.compiling import CompileJob, compile_plan
from edge.compiled.plan import read_plan
from edge.compiled.state import bring_home
from edge.libmest import library
from edge.libmest.build import WEB as WEB_SOURCES
from edge.libmest.targets import WEB, build_library_for
from edge.plan.search import Request
from edge.run.evaluate import evaluate

NODE = shutil.which("node")
pytestmark = [
    pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}"),
    pytest.mark.skipif(NODE is None, reason="needs Node: apt install nodejs"),
    pytest.mark.skipif(find_spec("ziglang") is None, reason="needs a compiler: pip install ziglang"),
]
MOST_BYTES = 300 << 10  # of the module
PAGE_BYTES = 64 << 10
BATCH, SAMPLES = 8, 29


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Compiled:
    """A plan that has a program for every size of piece, in pieces of 3, and data."""
    folder, network = tmp_path_factory.mktemp("web"), resnet("block", 0.75, blocks=1, width=8, size=8, classes=5)
    artifact = write_artifact(folder / "artifact", network)
    source = write_images(folder / "images.npz", network, SAMPLES)
    return compiled(folder, artifact, source, Request(batch_size=BATCH, micro_batch=3), counted=False, augment="flip")


@pytest.fixture(scope="module")
def found(example: Compiled) -> dict[str, Any]:
    """What the run in the module printed; its state lies beside the plan."""
    folder = example.plan.parent
    build_library_for(WEB, folder / "module")
    with np.load(example.source) as source:
        (folder / "images").write_bytes(source["images"].transpose(0, 3, 1, 2).tobytes())
        (folder / "labels").write_bytes(source["labels"].astype("<i4").tobytes())
    two = Request(batch_size=BATCH, threads=2)
    compile_plan(CompileJob(example.artifact, folder / "two.mest", example.settings, lambda _: two))
    script = Path(__file__).with_name("web_run.mjs")
    words = (
        folder / "module",
        example.plan,
        example.data,
        folder / "images",
        folder / "labels",
        folder / "two.mest",
        folder / "web.state",
    )
    done = run(Path(str(NODE)), script, *words)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


@pytest.fixture(scope="module")
def plain(tmp_path_factory, example: Compiled) -> Path:
    """The program with vectors of four floats and no fused multiply-add, as WebAssembly has them."""
    return program_without_fma(tmp_path_factory.mktemp("plain"))


def test_the_run_is_that_of_the_program(plain: Path, example: Compiled, found: dict[str, Any]) -> None:
    """Stopped, loaded elsewhere and continued: the same state to the byte; the same answers but for the last digits."""
    folder = example.plan.parent
    state, progress = folder / "native.state", found["progress"]
    trained = example.run(plain, "train", "--state", state)
    assert (folder / "web.state").read_bytes() == state.read_bytes()
    assert progress["step"] == trained["steps"] > 5
    assert [progress[f"accuracy{when}"] for when in ("Before", "After")] == [
        trained[f"accuracy_{when}"] for when in ("before", "after")
    ]
    answers = example.run(plain, "predict", "--state", state, "--top", 5)["predictions"]
    wanted = [[each["score"] for each in sorted(one["classes"], key=lambda each: each["class"])] for one in answers]
    np.testing.assert_allclose(np.reshape(found["scores"], (SAMPLES, -1)), wanted, rtol=1e-5)


def test_questions_do_not_disturb_a_run(found: dict[str, Any]) -> None:
    """Samples of the caller are trained on to the same state as a data file, with predictions of others in between."""
    assert found["undisturbed"]


def test_a_state_comes_home(example: Compiled, found: dict[str, Any]) -> None:
    """Unpacked, it evaluates to the very accuracy that the module said."""
    home = example.plan.parent / "home"
    bring_home(read_plan(example.plan), example.plan.parent / "web.state", home)
    said = found["evaluated"]
    assert evaluate(home, str(example.source), "native").accuracy == said["correct"] / said["samples"]


def test_memory_stays_what_was_reserved(example: Compiled, found: dict[str, Any]) -> None:
    """Nothing is asked for after opening; the module is small, and reaches a clock and the bytes that it is given."""
    memory = found["memory"]
    assert memory["reserved"] == memory["after"] >= memory["used"] > memory["reserved"] - PAGE_BYTES
    assert found["moduleBytes"] <= MOST_BYTES
    assert set(found["imports"]) == {"clock_time_get", "read", "write"}
    plan = read_plan(example.plan)
    assert found["classNames"] == list(plan.class_names)
    facts = found["facts"]
    assert (facts["channels"], facts["classes"], facts["batchSize"], facts["piece"]) == (3, 5, BATCH, 3)


def test_steps_outside_of_a_run(found: dict[str, Any]) -> None:
    """The loss of a sample falls; the weights of the plan come back."""
    losses = found["own"]["losses"]
    assert losses[-1] < losses[0]
    assert (found["own"]["changed"], found["own"]["reset"]) == (True, True)


@pytest.mark.parametrize(("batch", "most"), [(1, 9 << 20), (4, 13 << 20)])
def test_resnet32_fits_a_page(example: Compiled, found: dict[str, Any], tmp_path: Path, batch: int, most: int) -> None:
    """90 % sparse in blocks, every layer trained, room for the densest phase: the linear memory with its samples."""
    plan, artifact = tmp_path / "plan.mest", write_artifact(tmp_path / "artifact", resnet("block", 0.9))
    request = Request(batch_size=batch, recompute="blocks")
    settings = replace(example.settings, mutate="ems", mutate_every=10)
    compile_plan(CompileJob(artifact, plan, settings, lambda _: request))
    script = (
        f"import {{ open }} from {json.dumps((example.plan.parent / 'module' / 'mest.js').as_uri())};"
        "import { readFile } from 'node:fs/promises';"
        f"const module = await readFile({json.dumps(str(example.plan.parent / 'module' / 'mest.wasm'))});"
        f"const model = await open({{ module, plan: await readFile({json.dumps(str(plan))}), mostSamples: 40 }});"
        "console.log(model.memoryBytes);"
    )
    (tmp_path / "open.mjs").write_text(script)
    done = run(Path(str(NODE)), tmp_path / "open.mjs")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= most
    assert found["memory"]["reserved"] < int(done.stdout)


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("altered", 4, "plan: does not match its SHA-256"),
        ("state", 4, "state: does not match its SHA-256"),
        ("room", 2, "there is room for 8; open the plan with mostSamples"),
        ("batch", 2, "29; there is room for 8; give a batch at a time"),
        ("part", 2, "2 numbers; one sample has 192"),
        ("kind", 2, "give a Uint8Array"),
        ("label", 2, "sample 0 has label 99"),
        ("threads", 2, "2 threads cannot be started"),
    ],
)
def test_refusals(found: dict[str, Any], what: str, code: int, words: str) -> None:
    """Thrown with the code of the command line, and the library's own line."""
    refused = found["refusals"][what]
    assert refused is not None
    assert (refused["code"], words in refused["message"]) == (code, True), refused


def test_the_types_name_what_there_is(found: dict[str, Any]) -> None:
    """Facts and progress have the members that mest.d.ts declares, no more and no fewer."""
    types = (WEB_SOURCES / "mest.d.ts").read_text()
    for interface, given in (("Facts", found["facts"]), ("Progress", found["progress"])):
        body = types.split(f"export interface {interface} {{")[1].split("\n}")[0]
        assert set(re.findall(r"^  (\w+): ", body, re.MULTILINE)) == set(given)
