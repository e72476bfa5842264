"""The kernels for processors that the build does not know, written in vector extensions alone, compiled here."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edge.libmest import build

HERE = Path(__file__).parent
ROOT = next((folder for folder in HERE.parents if (folder / "pyproject.toml").exists()), HERE)

# Takes the library in argv[1] in place of the built one, then runs the tests named after it.
RUN = """
import sys
from pathlib import Path
from edge.libmest import library
library.PATH = Path(sys.argv[1])
assert library.instruction_sets() == ("portable", "scalar"), library.instruction_sets()
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """The library as it is built for an unknown machine."""
    header = HERE / "other_machine.h"
    if not header.exists():
        pytest.skip(f"needs {header.name} beside this file: only the Python files of the tests were copied")
    try:
        command = [*build.compiler(), "-include", str(header)]
        if build.machine_of(command) != "other":
            pytest.fail(f"{shlex.join(command)} still names its machine: {build.machine_of(command)}")
    except build.BuildError as error:
        pytest.skip(f"needs a C compiler: {error}")
    target = tmp_path_factory.mktemp("portable") / build.LIBRARY_NAME
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEST_CC", shlex.join(command))
        assert build.build(target) == "other"
    return target


def test_operators_agree_on_an_unknown_machine(elsewhere: Path) -> None:
    """Every operator, window and format against the numpy reference, in the portable set and in scalar."""
    tests = [str(HERE / f"test_native_{name}.py") for name in ("operators", "convolution")]
    command = [sys.executable, "-c", RUN, str(elsewhere), "-p", "no:cacheprovider", "-q", *tests]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
