"""JPEG and PNG files in the program: the pixels that Python's preprocessing makes of them, and refusals of all else."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import pytest
from compiled_example import mest_run, run  # noqa: F401 - a fixture
from native_artifact import write_artifact
from native_networks import Builder
from PIL import Image

from edge.compiled.compiling import CompileJob, compile_plan
from edge.compiled.plan import read_plan, sealed
from edge.compiled.planned import DECODER_BYTES
from edge.data.image import read_image
from edge.errors import InputError
from edge.handover.artifact import open_artifact
from edge.handover.manifest import read_manifest, write_manifest
from edge.libmest import library, plan_file
from edge.plan.search import Request
from edge.run.predict import predict_files
from edge.run.settings import Settings

pytestmark = pytest.mark.skipif(not library.available()[0], reason=f"needs the library: {library.available()[1]}")
ROOM = 4 << 20
CASES = int(os.environ.get("MEST_FUZZ_CASES", "2400")) // 12
SEED = int(os.environ.get("MEST_FUZZ_SEED", "0"))
OLD_PILLOW = int(PIL.__version__.split(".")[0]) < 13  # shortens rows first, however tall a picture is
MOST_LEVELS = 40  # of a JPEG that Python decodes at a part of its size, and the program at all of it
PREPARED = {
    "short side and crop": ("RGB", 24, (16, 20), "bilinear"),
    "both sides": ("RGB", (16, 20), None, "bicubic"),
    "grey": ("L", 40, (16, 20), "bicubic"),
    "nearest": ("RGB", (16, 20), None, "nearest"),
    "a crop of a larger one": ("L", (33, 47), (16, 20), "nearest"),
}


def plan_for(
    folder: Path, mode: str, resize, crop, interpolation: str, room: int = ROOM, width: int = 8, batch_size: int = 4
) -> Path:
    """A compiled plan whose artifact prepares pictures so, for a network of 16x20 pixels; the artifact beside it."""
    b = Builder((3 if mode == "RGB" else 1, 16, 20), 3)
    artifact = write_artifact(
        folder / "artifact", b.head(b.relu(b.norm(b.conv("input", width, (3, 3), padding=(1, 1, 1, 1)))))
    )
    manifest = read_manifest(artifact)
    fixed = {"mode": mode, "resize": resize, "crop": crop, "interpolation": interpolation}
    write_manifest(replace(manifest, preprocess={**manifest.preprocess, **fixed}), artifact)
    request = Request(batch_size=batch_size)
    compile_plan(CompileJob(artifact, folder / "plan.mest", Settings(), lambda _: request, None, None, room))
    return folder / "plan.mest"


def read(program: Path, plan: Path, picture: Path) -> np.ndarray:
    """The pixels `(h, w, c)` that the program collects of a picture."""
    data = picture.with_name(f"{picture.name}.data")
    data.unlink(missing_ok=True)
    done = run(program, "collect", plan, picture, "--data", data, "--label", 0)
    assert done.returncode == 0, done.stderr
    head, content = plan_file.Data.from_buffer_copy(data.read_bytes()), data.read_bytes()
    pixels = np.frombuffer(content, np.uint8, head.channels * 16 * 20, 48 + 8)
    return pixels.reshape(head.channels, 16, 20).transpose(1, 2, 0)


def scene(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Waves, discs and noise, uint8 `(height, width, 3)`."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    found = np.zeros((height, width, 3))
    for _ in range(12):
        fx, fy = random.normal(size=2) * random.choice([0.01, 0.05, 0.3])
        found += np.sin(fx * x + fy * y + random.random() * 6)[..., None] * random.random(3) * 40
    for _ in range(8):
        near = (x - random.random() * width) ** 2 + (y - random.random() * height) ** 2 < (random.random() * 40) ** 2
        found[near] += random.normal(size=3) * 60
    return np.clip(found + 128 + random.normal(size=found.shape) * 4, 0, 255).astype(np.uint8)


def exif(turn: int) -> bytes:
    """The EXIF block that says how a photo is turned."""
    block = Image.Exif()
    block[0x0112] = turn
    return block.tobytes()


def sixteen_bits(grey: bool) -> bytes:
    """A PNG file with 16 bits a channel, which Pillow does not write in colour."""
    pixels = np.random.default_rng(3).integers(0, 1 << 16, (30, 44, 1 if grey else 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 44, 30, 16, 0 if grey else 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def encoded(image: Image.Image, **how) -> bytes:
    """The file of an image; PNG unless told otherwise."""
    file = io.BytesIO()
    image.save(file, **{"format": "PNG", **how})
    return file.getvalue()


def pngs() -> dict[str, bytes]:
    """Every kind of PNG file, by what is peculiar about it."""
    image = Image.fromarray(scene(61, 47))
    clear = Image.merge("RGBA", (*image.split(), Image.fromarray(scene(61, 47, 1)[..., 0])))
    few = image.quantize(13)
    found = {
        "RGB": encoded(image),
        "RGBA": encoded(clear),
        "L": encoded(image.convert("L")),
        "LA": encoded(clear.convert("LA")),
        "1": encoded(image.convert("1")),
        "P": encoded(few),
        "P of 2 bits": encoded(image.quantize(4), bits=2),
        "P with transparency": encoded(few, transparency=bytes(range(0, 130, 10))),
        "a transparent grey": encoded(image.convert("L"), transparency=128),
        "a transparent colour": encoded(image, transparency=tuple(image.getpixel((5, 5)))),
        "16 bits, grey": sixteen_bits(grey=True),
        "16 bits, colour": sixteen_bits(grey=False),
        "a tall one": encoded(Image.fromarray(scene(9, 300))),
        "a single pixel": encoded(Image.fromarray(scene(1, 1))),
        "as large as the network": encoded(Image.fromarray(scene(20, 16))),
    }
    return found | {f"turned {turn}": encoded(image, exif=exif(turn)) for turn in range(1, 9)}


@pytest.mark.parametrize("name", PREPARED)
def test_pngs_are_those_of_python(mest_run: Path, tmp_path: Path, name: str) -> None:  # noqa: F811
    """To the bit, every kind, however they are turned, resized and cropped."""
    plan = plan_for(tmp_path, *PREPARED[name])
    preprocess = read_plan(plan).preprocess
    for kind, content in pngs().items():
        file = tmp_path / f"{kind}.png"
        file.write_bytes(content)
        wanted = read_image(file, preprocess)
        apart = np.abs(read(mest_run, plan, file).astype(int) - wanted)
        assert apart.max() <= (kind == "a tall one" and OLD_PILLOW), kind


@pytest.mark.parametrize("name", ["short side and crop", "both sides", "grey"])
def test_jpegs_are_those_of_python(mest_run: Path, tmp_path: Path, name: str) -> None:  # noqa: F811
    """To the bit where Python decodes all of one, and near to it where it decodes an eighth to a half of the size."""
    plan = plan_for(tmp_path, *PREPARED[name])
    preprocess = read_plan(plan).preprocess
    for size, whole in (((37, 31), True), ((45, 63), False), ((200, 150), False), ((640, 480), False)):
        for how in (
            {},
            {"subsampling": 0},
            {"subsampling": 1, "quality": 95},
            {"progressive": True},
            {"exif": exif(6)},
            {"optimize": True},
        ):
            for grey in (False, True):
                image = Image.fromarray(scene(*size))
                file = tmp_path / "photo.jpg"
                file.write_bytes(encoded(image.convert("L") if grey else image, format="JPEG", **how))
                found, wanted = read(mest_run, plan, file), read_image(file, preprocess)
                apart = np.abs(found.astype(int) - wanted)
                assert apart.max() <= (0 if whole else MOST_LEVELS), (size, how, grey, apart.max())
                assert apart.mean() < 6, (size, how, grey, apart.mean())


def test_answers_are_those_of_python(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """The scores of `mest predict` for the same files, and what both say of one that is none."""
    plan = plan_for(tmp_path, *PREPARED["short side and crop"])
    files = [tmp_path / name for name in ("a.png", "no picture.jpg", "c.png")]
    for file, seed in ((files[0], 1), (files[2], 2)):
        file.write_bytes(encoded(Image.fromarray(scene(50, 40, seed))))
    files[1].write_bytes(b"words")
    done = run(mest_run, "predict", plan, *files, "--json")
    python = predict_files(tmp_path / "artifact", files, "native").to_json()
    assert done.returncode == python["exit_code"] == 2
    ours = json.loads(done.stdout)
    assert [one["image"] for one in ours["predictions"]] == [str(files[0]), str(files[2])]
    for one, other in zip(ours["predictions"], python["predictions"], strict=True):
        assert one["class"] == other["class"]
        assert one["score"] == pytest.approx(other["score"], rel=1e-6)
    assert [one["image"] for one in ours["unread"]] == [one["image"] for one in python["unread"]] == [str(files[1])]
    said = f"{files[1]}: not a readable image (no JPEG or PNG file); remove or replace it"
    assert ours["unread"][0]["error"] == said
    assert said in done.stderr
    assert "\nclasses        0 class 0, 1 class 1, 2 class 2\n" in run(mest_run, "info", plan).stdout
    assert run(mest_run, "predict", plan, files[0], "--top", 1).stdout.startswith(f"{files[0]}: class ")


def test_one_that_is_too_large_says_what_it_takes(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """The size that is named is enough, and is planned for; a byte less is not."""
    plan = plan_for(tmp_path / "small", *PREPARED["both sides"], room=0)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded(Image.fromarray(scene(640, 480)), format="JPEG"))
    done = run(mest_run, "predict", plan, photo)
    assert done.returncode == 3
    assert "photo.jpg: 640x480 pixels take " in done.stderr
    needed = int(done.stderr.rpartition("--picture-memory ")[2].partition("KiB")[0]) << 10
    enough = plan_for(tmp_path / "enough", *PREPARED["both sides"], room=needed)
    assert run(mest_run, "predict", enough, photo).returncode == 0
    less = plan_for(tmp_path / "less", *PREPARED["both sides"], room=needed - 1024)
    assert run(mest_run, "predict", less, photo).returncode == 3
    small_one = tmp_path / "small.png"
    small_one.write_bytes(encoded(Image.fromarray(scene(44, 30))))
    done = run(mest_run, "predict", less, photo, small_one, "--json")  # the others are answered all the same
    ours = json.loads(done.stdout)
    assert done.returncode == 3
    assert [one["image"] for one in ours["predictions"]] == [str(small_one)]
    assert ours["unread"][0]["error"] in done.stderr
    data = tmp_path / "collected.data"
    done = run(mest_run, "collect", less, photo, small_one, "--data", data, "--label", 0, "--json")
    assert (done.returncode, json.loads(done.stdout)["added"]) == (3, 1)
    small, large = (read_plan(one).head for one in (plan, enough))
    assert large.picture_bytes == needed
    assert large.planned_peak_bytes - small.planned_peak_bytes == needed - small.arena_bytes + DECODER_BYTES


def test_an_arena_that_is_smaller_than_the_decoder(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """A picture is refused, with a size that is enough for one of any kind."""
    tiny = {"width": 1, "batch_size": 2}
    plan = plan_for(tmp_path / "tiny", *PREPARED["grey"], room=0, **tiny)
    assert read_plan(plan).head.picture_bytes < 32 << 10
    files = [tmp_path / "a.png", tmp_path / "b.jpg"]
    files[0].write_bytes(sixteen_bits(grey=False))
    files[1].write_bytes(encoded(Image.fromarray(scene(44, 30)), format="JPEG", progressive=True))
    for file in files:
        done = run(mest_run, "predict", plan, file)
        assert done.returncode == 3
        assert done.stderr.rstrip().endswith("compile with --picture-memory, 64 KiB and 8 bytes for each pixel")
    enough = plan_for(tmp_path / "enough", *PREPARED["grey"], room=(64 << 10) + 8 * 44 * 30, **tiny)
    assert run(mest_run, "predict", enough, *files).returncode == 0


def test_collecting_counts_what_was_there(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Also where no picture can be read; a data file of another plan is refused before any is."""
    plan, none, picture = plan_for(tmp_path, *PREPARED["grey"]), tmp_path / "none.png", tmp_path / "a.png"
    picture.write_bytes(encoded(Image.fromarray(scene(44, 30))))

    def collect(data: Path, *pictures: Path) -> tuple[int, dict[str, int]]:
        done = run(mest_run, "collect", plan, *pictures, "--data", data, "--label", 1, "--json")
        return done.returncode, {name: json.loads(done.stdout)[name] for name in ("added", "samples")}

    data = tmp_path / "data"
    assert collect(data, none) == (2, {"added": 0, "samples": 0})
    assert not data.exists()
    assert collect(data, picture, none, picture) == (2, {"added": 2, "samples": 2})
    assert collect(data, none) == (2, {"added": 0, "samples": 2})
    other = plan_for(tmp_path / "other", *PREPARED["nearest"])
    done = run(mest_run, "collect", other, none, "--data", data, "--label", 1)
    assert (done.returncode, "pack the data for it" in done.stderr, "none.png" in done.stderr) == (2, True, False)


def test_what_takes_no_pictures(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """A picture beside data, one that is not there, one that is too small for a crop, and other kinds of files."""
    plan = plan_for(tmp_path, "RGB", None, (16, 20), "bilinear")
    small, gif, printed = tmp_path / "small.png", tmp_path / "moving.gif", tmp_path / "printed.jpg"
    small.write_bytes(encoded(Image.fromarray(scene(10, 10))))
    gif.write_bytes(encoded(Image.fromarray(scene(30, 30)), format="GIF"))
    printed.write_bytes(encoded(Image.fromarray(scene(30, 30)).convert("CMYK"), format="JPEG"))
    for words, said in (
        ((small, "--data", small), "--data is given too"),
        ((tmp_path / "none.png",), "none.png: No such file or directory; give a JPEG or PNG file"),
        ((small,), "an image of 10x10 is smaller than the artifact's crop 16x20"),
        ((gif,), "not a readable image (no JPEG or PNG file)"),
        ((printed,), "four colours, for print"),
    ):
        done = run(mest_run, "predict", plan, *words)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    done = run(mest_run, "eval", plan, small)
    assert (done.returncode, "not expected; one plan is given" in done.stderr) == (2, True)


def test_damaged_pictures_are_refused(mest_run: Path, tmp_path: Path) -> None:  # noqa: F811
    """Bytes changed, cut off, and added, of every kind: a sample, or a line and exit code 2 or 3, never a crash."""
    plan, random = plan_for(tmp_path, *PREPARED["both sides"], room=1 << 20), np.random.default_rng(SEED)
    image = Image.fromarray(scene(61, 47))
    whole = [*pngs().values()] + [
        encoded(image, format="JPEG", **how) for how in ({}, {"progressive": True}, {"exif": exif(5)})
    ]
    whole.append(encoded(image.convert("L"), format="JPEG", subsampling=0))
    files = [tmp_path / f"{number}.png" for number in range(20)]
    read_whole = 0
    for _ in range(max(1, CASES // len(files))):
        for file in files:
            content = bytearray(whole[random.integers(len(whole))])
            for _ in range(int(random.integers(1, 6))):
                at = int(random.integers(len(content)))
                kind = random.integers(4)
                if kind == 0:
                    del content[at:]
                    content += bytes(1)
                elif kind == 1:
                    content[at:at] = random.bytes(int(random.integers(1, 9)))
                else:
                    content[at] = random.integers(256)
            file.write_bytes(mended(content) if random.integers(2) else content)
        done = run(mest_run, "predict", plan, *files, "--json")
        assert done.returncode in (0, 2, 3), (done.returncode, done.stderr[-2000:])
        if done.returncode != 3:
            found = json.loads(done.stdout)
            assert len(found["predictions"]) + len(found["unread"]) == len(files)
            read_whole += len(found["predictions"])
    assert read_whole


def mended(content: bytearray) -> bytes:
    """A PNG file with the check sums of its parts put right, so that what they hold is looked at."""
    at = 8
    while content[:4] == b"\x89PNG" and at + 12 <= len(content):
        nbytes = int.from_bytes(content[at : at + 4])
        if at + 12 + nbytes > len(content):
            break
        content[at + 8 + nbytes : at + 12 + nbytes] = zlib.crc32(content[at + 4 : at + 8 + nbytes]).to_bytes(4)
        at += 12 + nbytes
    return bytes(content)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("picture_bytes", nbytes) for nbytes in (0, 1 << 60)),
        *(("channels", channels) for channels in (2, 4)),
        ("resize_short", -1),
        ("crop_width", 0),
        ("interpolation", 3),
    ],
)
def test_other_preparations_are_refused(mest_run: Path, tmp_path: Path, field: str, value: int) -> None:  # noqa: F811
    """Numbers out of their range are a damaged file."""
    plan = plan_for(tmp_path, *PREPARED["short side and crop"])
    content = plan.read_bytes()
    head = plan_file.Plan.from_buffer_copy(content)
    setattr(head, field, value)
    plan.write_bytes(sealed(head, content))
    assert run(mest_run, "info", plan).returncode == 4


def test_memory_for_pictures_that_do_nothing_is_refused(tmp_path: Path) -> None:
    """For a network of numbers, and beyond what a plan can have."""
    plan_for(tmp_path, *PREPARED["grey"])
    artifact = tmp_path / "artifact"
    job = CompileJob(artifact, tmp_path / "new.mest", Settings(), lambda _: Request(batch_size=4))
    with pytest.raises(InputError, match=r"picture_memory.* 32768.* GiB: a compiled plan has up to 16384.* GiB"):
        compile_plan(replace(job, picture_bytes=1 << 45))
    manifest = read_manifest(artifact)
    numbers = {"mode": "array", "resize": None, "crop": None, "interpolation": None}
    write_manifest(replace(manifest, preprocess={**manifest.preprocess, **numbers}), artifact)
    with pytest.raises(InputError, match=r"picture_memory.* takes numbers, not pictures; leave it out"):
        compile_plan(replace(job, picture_bytes=1 << 20))
    assert not job.out.exists()
    compile_plan(job)


def test_the_network_is_that_of_the_artifact(tmp_path: Path) -> None:
    """What this file builds is what Python opens."""
    plan = plan_for(tmp_path, *PREPARED["grey"])
    assert open_artifact(tmp_path / "artifact").preprocess == read_plan(plan).preprocess
