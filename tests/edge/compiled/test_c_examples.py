"""The examples for apps, compiled and run: in C, and by JNI under the Java that is here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_library import core  # noqa: F401 - a fixture
from compiled_example import Compiled, compiled, mest_run, run  # noqa: F401 - a fixture
from native_artifact import write_artifact, write_images
from native_networks import resnet

from edge.libmest import build, library
from edge.plan.search import Request

pytestmark = pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}")
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
JAVAC = shutil.which("javac")


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Compiled:
    """A plan, data, and five samples as an app has them."""
    folder, network = tmp_path_factory.mktemp("examples"), resnet("block", 0.75, blocks=1, width=8, size=8, classes=5)
    artifact, source = write_artifact(folder / "artifact", network), write_images(folder / "images.npz", network, 20)
    with np.load(source) as images:
        (folder / "samples.raw").write_bytes(images["images"][:5].transpose(0, 3, 1, 2).tobytes())
    return compiled(folder, artifact, source, Request(batch_size=8), counted=False)


def built(core: Path, source: Path, target: Path, *more: str) -> None:  # noqa: F811
    """Compiles an example over the library, without a warning."""
    link = [str(core), f"-Wl,-rpath,{core.parent}", str(library.PATH), f"-Wl,-rpath,{library.PATH.parent}", "-lm"]
    flags = ["-Wall", "-Wextra", "-Werror", "-fPIC", f"-I{build.HERE / 'include'}"]
    subprocess.run([*build.compiler(), *flags, *more, str(source), *link, "-o", str(target)], check=True)


def test_an_app_in_c_corrects_its_network(core: Path, mest_run: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """It trains until its samples are seen as the class that was given; the program reads its state."""
    program, raw = tmp_path / "correct", example.plan.parent / "samples.raw"
    built(core, EXAMPLES / "c" / "correct.c", program)
    done = run(program, example.plan, raw, 3, tmp_path / "app.state")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("steps: 5 of 5 seen as class 3")
    found = example.run(mest_run, "predict", "--state", tmp_path / "app.state")["predictions"]
    assert [one["class"] for one in found[:5]] == ["class 3"] * 5
    done = run(program, example.data, raw, 3, tmp_path / "app.state")
    assert (done.returncode, "is no compiled plan" in done.stderr) == (4, True)
    done = run(program, example.plan, raw, 9, tmp_path / "app.state")
    assert (done.returncode, "allowed are 0 to 4" in done.stderr) == (2, True)


@pytest.mark.skipif(JAVAC is None, reason="needs a JDK: javac")
def test_an_app_in_java_does_the_same(core: Path, example: Compiled, tmp_path: Path) -> None:  # noqa: F811
    """The same state to the byte; what the library refuses is an exception with its line and code."""
    home = Path(str(JAVAC)).resolve().parents[1]
    include = home / "include"
    built(core, EXAMPLES / "c" / "correct.c", tmp_path / "correct")
    java = EXAMPLES / "android"
    built(core, java / "mest_jni.c", tmp_path / "libmest_jni.so", "-shared", f"-I{include}", f"-I{include / 'linux'}")
    subprocess.run([str(JAVAC), "-d", str(tmp_path), *map(str, sorted(java.glob("*.java")))], check=True)
    raw, states = example.plan.parent / "samples.raw", [tmp_path / "c.state", tmp_path / "java.state"]
    assert run(tmp_path / "correct", example.plan, raw, 2, states[0]).returncode == 0
    app = [home / "bin" / "java", f"-Djava.library.path={tmp_path}", "-Xshare:auto", "-cp", tmp_path, "Correct"]
    done = run(app[0], *app[1:], example.plan, raw, 2, states[1])
    assert (done.returncode, done.stdout.endswith(" steps to class 2\n")) == (0, True), done.stderr
    assert states[0].read_bytes() == states[1].read_bytes()
    done = run(app[0], *app[1:], example.plan, raw, 2, tmp_path / "lost" / "java.state")
    assert (done.returncode, "while the state was saved" in done.stderr) == (2, True)
