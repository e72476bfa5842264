"""Any words on the command line end without a traceback, with a documented exit code and with strict JSON alone.

Each line runs in a forked copy of this process, in a folder of its own that holds a tiny artifact, its state, data and
an image, so that limits, signals and files of one line do not reach the next. Training and the demo are replaced by a
refusal where their work would begin: parsing and checking is what is tried there.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_artifact import write_artifact, write_images
from network_example import Builder, Flatten, GlobalAvgPool, Relu
from PIL import Image

import mest.cli as cli
from mest.errors import InputError

CODES = {0, 2, 3, 4}
SECONDS = 10  # a line that works for longer is ended, and says nothing
MOST_BYTES = 2 << 30
NUMBERS = ("0", "1", "2", "3", "-1", "1e9", "0.5", "nan", "inf", "-inf", "1e-300", "9" * 20, "0x10", "", " ")
SIZES = ("1", "64MiB", "0", "-5MiB", "1e3GiB", "64 MiB", "9" * 30 + "GiB", "MiB", "²")
NAMES = (
    "digits",
    "auto",
    "native",
    "ort",
    "none",
    "all",
    "bias",
    "last:1",
    "last:-1",
    "last:x",
    "(",
    "block:0",
    "block:4",
)
NAMES += (
    "pattern",
    "em",
    "ems",
    "sgd",
    "adamw",
    "resnet20",
    "no.such:thing",
    "npz:",
    "npz:data.npz",
    "imagefolder:",
    "é",
)
PLACES = ("artifact", "state", "data.npz", "image.png", "missing", ".", "image.png/below", "a\nb", "x" * 300)
ANY = st.sampled_from((*NUMBERS, *SIZES, *NAMES, *PLACES)) | st.text(
    st.characters(codec="utf-8", exclude_characters="/~\0"), max_size=6
)


def options(name: str) -> list[tuple[str, bool, tuple[str, ...]]]:
    """Every option of a command but --help: whether it takes a value, and its choices."""
    commands = next(action for action in cli.build_parser(name)._actions if action.dest == "command")
    return [
        (flag, action.nargs != 0, tuple(map(str, action.choices or ())))
        for action in commands.choices[name]._actions  # type: ignore[union-attr, call-overload]
        for flag in action.option_strings
        if flag not in ("-h", "--help")
    ]


@st.composite
def words(draw: st.DrawFn, name: str) -> list[str]:
    """A command, often with the place it wants first, and with any of its options and any values."""
    line = [name, *draw(st.lists(st.sampled_from(PLACES[:4]) | ANY, max_size=2))]
    for flag, valued, choices in draw(st.lists(st.sampled_from(options(name)), max_size=6)):
        value = st.sampled_from(choices) | ANY if choices else ANY
        line += [flag, draw(value)] if valued else [flag]
    return [*line, *draw(st.sampled_from(([], ["--json"], ["--data", "data.npz", "--out", "new", "--json"])))]


def fork(line: list[str], folder: Path) -> tuple[int | None, str, str]:
    """Exit code (None if time was up), standard output and standard error of one line, run in `folder`."""
    child = os.fork()
    if child == 0:
        _run(line, folder)
    _, status = os.waitpid(child, 0)
    said = [(folder / name).read_text(encoding="utf-8", errors="replace") for name in ("out.txt", "err.txt")]
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
    return None if late else os.waitstatus_to_exitcode(status), said[0], said[1]


def _run(line: list[str], folder: Path) -> NoReturn:
    code = 1
    try:
        os.chdir(folder)
        for number, name in ((1, "out.txt"), (2, "err.txt")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", encoding="utf-8")
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        code = cli.main(line)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny artifact, its state, data and an image; and long work replaced by a refusal."""
    import mest.demo.walk
    import mest.train.trainer

    def works(*_: Any, **__: Any) -> NoReturn:
        raise InputError("here the work would begin")

    folder = tmp_path_factory.mktemp("known")
    builder = Builder((1, 8, 8))
    builder.conv("stem", 8, scheme="block", keep=0.5)
    builder.norm("norm")
    builder.add(Relu, "relu")
    builder.add(GlobalAvgPool, "pool")
    builder.add(Flatten, "flat")
    builder.linear("head", 3)
    network = builder.network()
    write_artifact(folder / "artifact", network)
    write_images(folder / "data.npz", network, 12)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "image.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mest.train.trainer, "train", works)
        patch.setattr(mest.demo.walk, "walk", works)
        line = ["finetune", "artifact", "--data", "data.npz", "--out", "state", "--epochs", "1", "--batch-size", "4"]
        code, _, said = fork([*line, "--engine", "native"], folder)
        assert code == 0, said
        yield folder


@pytest.mark.parametrize("name", sorted(cli.SUMMARIES))
@given(data=st.data())
def test_random_words_never_end_in_a_traceback(
    name: str, known: Path, tmp_path_factory: Any, data: st.DataObject
) -> None:
    """Exit 0, 2, 3 or 4; what failed is said; with --json standard output holds one strict object or nothing."""
    line = data.draw(words(name))
    folder = tmp_path_factory.mktemp("line")
    shutil.copytree(known, folder, dirs_exist_ok=True)
    code, out, err = fork(line, folder)
    shutil.rmtree(folder)
    assert "Traceback" not in err, err
    if code is None:
        return
    assert code in CODES, (code, err)
    if code:
        assert err.strip(), line
    if "--json" in line and "--" not in line:
        assert code == 0 or not out
        if code == 0:
            assert isinstance(json.loads(out, parse_constant=pytest.fail), dict)
