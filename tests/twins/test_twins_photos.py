"""Workstation and board turn every image file into the same bits: formats, modes, turns, sizes, damage."""

from __future__ import annotations

import io
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

import edge.data.photo
import mest.data.photo
from edge.data.preprocess import Preprocess as BoardPreprocess
from mest.data import Preprocess

FORMATS = {
    "jpg": ("JPEG", ("RGB", "L", "CMYK")),
    "jfif": ("JPEG", ("RGB",)),
    "png": ("PNG", ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
    "gif": ("GIF", ("P", "L")),
    "bmp": ("BMP", ("RGB", "L", "1")),
    "tif": ("TIFF", ("RGB", "L", "CMYK", "I;16", "LA", "P")),
    "ppm": ("PPM", ("RGB", "L", "I")),
    "tga": ("TGA", ("RGB", "RGBA", "L")),
    "webp": ("WEBP", ("RGB", "RGBA")),
    "avif": ("AVIF", ("RGB", "RGBA")),
}
MISSING = {name for name in ("webp", "avif") if not features.check(name)}
KINDS = sorted((suffix, mode) for suffix, (_, modes) in FORMATS.items() for mode in modes if suffix not in MISSING)
RGB = {"mode": "RGB", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
GREY = {"mode": "L", "mean": (0.5,), "std": (0.2,)}


def photo(width: int, height: int, mode: str, seed: int = 0) -> Image.Image:
    """A smooth picture with edges in it, in any of Pillow's modes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    if mode in ("I;16", "I"):
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width)))
    return image.convert(mode)


def saved(image: Image.Image, suffix: str, turn: int = 1, **options: object) -> io.BytesIO:
    """The image as a file of the format, with EXIF's orientation where it is not upright."""
    exif = Image.Exif()
    exif[0x0112] = turn
    file = io.BytesIO()
    image.save(file, FORMATS[suffix][0], **({"exif": exif} if turn > 1 else {}), **options)
    return file


def both(file: io.BytesIO | Path, plan: Preprocess) -> np.ndarray:
    """The pixels that both sides make of a file, which are the same."""
    with mest.data.photo.open_photo(file) as image:
        ours = plan.pixels(image)
    with edge.data.photo.open_photo(file) as image:
        theirs = BoardPreprocess.from_json(plan.as_dict()).pixels(image)
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == np.uint8
    return ours


def test_the_twins_are_one_text() -> None:
    """But for the line that says which is which."""
    texts = [Path(module.__file__).read_text(encoding="utf-8") for module in (edge.data.photo, mest.data.photo)]
    assert texts[0].replace("mest/data/photo.py", "").replace("on the workstation", "") == texts[1].replace(
        "edge/data/photo.py", ""
    ).replace("on the board", "")


@given(
    kind=st.sampled_from(KINDS),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    turn=st.integers(1, 8),
    progressive=st.booleans(),
    grey=st.booleans(),
    target=st.one_of(st.integers(1, 40), st.tuples(st.integers(1, 40), st.integers(1, 40))),
    seed=st.integers(0, 99),
)
@example(kind=("jpg", "RGB"), size=(400, 300), turn=6, progressive=True, grey=False, target=16, seed=0)
@example(kind=("tif", "RGB"), size=(40, 30), turn=6, progressive=False, grey=False, target=(9, 7), seed=0)
def test_random_photos_are_prepared_alike(kind, size, turn, progressive, grey, target, seed) -> None:
    """Whatever the file, both sides give the same bits, of the network's shape."""
    suffix, mode = kind
    options = {"progressive": progressive} if suffix == "jpg" else {}
    turn = turn if suffix in ("jpg", "png", "tif", "webp") else 1
    file = saved(photo(*size, mode, seed), suffix, turn, **options)
    plan = Preprocess(**(GREY if grey else RGB)).leading_to(target, target) if isinstance(target, int) else None
    plan = plan or Preprocess(**(GREY if grey else RGB), resize=target)
    height, width = (target, target) if isinstance(target, int) else target
    with TemporaryDirectory() as folder:
        name = Path(folder) / f"x.{suffix}"  # a TGA file has no mark of its own; its name is what tells
        name.write_bytes(file.getvalue())
        found = both(name, plan)
    assert found.shape == (height, width, 1 if grey else 3)


@given(seed=st.integers(0, 10**6), kind=st.sampled_from([kind for kind in KINDS if kind[0] != "tga"]))
def test_random_damage_is_an_error_like_any_other(seed: int, kind: tuple[str, str]) -> None:
    """A cut or altered file gives the same pixels on both sides or an exception on both, never a crash."""
    content = bytearray(saved(photo(40, 30, kind[1]), kind[0]).getvalue())
    chance = random.Random(seed)
    for _ in range(chance.randrange(6)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    file = io.BytesIO(bytes(content[: chance.randrange(1, len(content) + 1)]))
    plan = Preprocess(**RGB).leading_to(8, 8)
    try:
        with mest.data.photo.open_photo(file) as image:
            plan.pixels(image)
    except Exception as refused:
        with pytest.raises(type(refused)), edge.data.photo.open_photo(file) as image:
            BoardPreprocess.from_json(plan.as_dict()).pixels(image)
    else:
        both(file, plan)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", *({"webp"} - MISSING)])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photo_is_turned_as_its_exif_says(suffix: str, turn: int) -> None:
    """As Pillow's own exif_transpose does it, for every orientation; the header knows the size that comes out."""
    file = saved(photo(50, 30, "RGB"), suffix, turn)
    with Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(both(file, Preprocess(**RGB)), expected)
    if suffix != "tif":
        assert edge.data.photo.read_header(file).upright == expected.shape[:2]


def test_sixteen_bits_are_seen_as_the_eight_bit_file() -> None:
    """Neither white nor black: PNG, TIFF of either byte order, PPM; 32-bit numbers are refused by name."""
    eight = photo(20, 16, "L")
    wanted = both(saved(eight, "png"), Preprocess(**RGB))
    assert 20 < wanted.mean() < 235
    sixteen = np.asarray(eight).astype(np.uint16) * 257
    for suffix in ("png", "tif", "ppm"):
        np.testing.assert_array_equal(both(saved(Image.fromarray(sixteen), suffix), Preprocess(**RGB)), wanted)
    big = Image.frombytes("I;16B", eight.size, sixteen.astype(">u2").tobytes())
    np.testing.assert_array_equal(both(saved(big, "tif"), Preprocess(**RGB)), wanted)
    for dtype in (np.int32, np.float32):
        file = saved(Image.fromarray(np.asarray(eight).astype(dtype)), "tif")
        for module in (edge.data.photo, mest.data.photo):
            with pytest.raises(ValueError, match="32-bit numbers without an agreed white"):
                module.read_header(file)


def test_transparency_and_palettes_keep_their_colours(recwarn: pytest.WarningsRecorder) -> None:
    """As converting to RGB does, and without Pillow's warning."""
    image = photo(20, 16, "RGB")
    transparent = image.copy()
    transparent.putalpha(0)
    np.testing.assert_array_equal(both(saved(transparent, "png"), Preprocess(**RGB)), np.asarray(image))
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    expected = np.asarray(palette.convert("RGB"))
    file = saved(palette, "png", transparency=bytes(range(256)))
    np.testing.assert_array_equal(both(file, Preprocess(**RGB)), expected)
    assert not list(recwarn)


def test_a_large_jpeg_is_decoded_small_and_looks_the_same() -> None:
    """At an eighth of 12 megapixels, never below twice the target, within two grey levels of the whole decoding."""
    image = photo(1600, 1200, "RGB")
    small = both(saved(image, "jpg", quality=95), Preprocess(**RGB).leading_to(48, 48)).astype(int)
    whole = both(saved(image, "png"), Preprocess(**RGB).leading_to(48, 48)).astype(int)
    assert np.abs(small - whole).max() <= 3
    with edge.data.photo.open_photo(saved(image, "jpg", turn=6)) as opened:
        assert edge.data.photo.reduce_jpeg(opened, (60, 80))
        opened.load()
        assert opened.size == (200, 150)


@pytest.mark.parametrize("kind", [("jpg", "RGB"), ("jpg", "CMYK"), ("png", "RGBA"), ("png", "I;16"), ("tif", "RGB")])
def test_what_decoding_takes_follows_from_the_header(kind: tuple[str, str]) -> None:
    """A JPEG takes what its reduced size does, a progressive one its coefficients too, others the whole picture."""
    header = edge.data.photo.read_header(saved(photo(800, 600, kind[1]), kind[0]))
    whole, reduced = header.decoding_bytes("RGB", (800, 600)), header.decoding_bytes("RGB", (40, 30))
    assert whole > 800 * 600 * 4
    if kind[0] == "jpg":
        assert reduced < 1 << 20
        slow = edge.data.photo.read_header(saved(photo(800, 600, kind[1]), kind[0], progressive=True))
        assert slow.decoding_bytes("RGB", (40, 30)) - reduced > 800 * 600 * 2
    else:
        assert reduced > 800 * 600 * 2


def test_only_pictures_are_opened_whatever_their_name(tmp_path: Path) -> None:
    """A file is known by its content: WebP called .jpg is read, PostScript is not run."""
    if "webp" not in MISSING:
        assert edge.data.photo.read_header(saved(photo(9, 8, "RGB"), "webp")).kind == "WEBP"
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "y.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    for name in ("x.png", "y.jpg"):
        for module in (edge.data.photo, mest.data.photo):
            with pytest.raises((ValueError, OSError)):
                module.read_header(tmp_path / name)
