"""Bundles: the same input gives the same bytes, and no other bytes are taken for a bundle."""

from __future__ import annotations

import struct
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest
from bundle_example import CONTENTS, make_bundle, make_wheel

from edge.errors import DamagedError, EdgeError, InputError
from edge.install.bundle import decode, open_bundle


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Every member at its place, the manifest as it was; and any zip reader finds the same."""
    bundle = make_bundle(tmp_path / "a", expires="2099-01-31")
    opened = open_bundle(tmp_path / "a")
    assert (opened.bundle, opened.signature) == (bundle, b"")
    for member in bundle.members:
        content = b"".join(opened.places[member.name].read(member.nbytes))
        assert content == CONTENTS.get(member.name, content)
        with ZipFile(tmp_path / "a") as archive:
            assert archive.testzip() is None
            assert archive.read(member.name) == content


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """And its identity is the same whatever its version, another as soon as a content differs."""
    one = make_bundle(tmp_path / "a")
    make_bundle(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert make_bundle(tmp_path / "c", version=4, expires="2099-01-31").identity() == one.identity()
    assert make_bundle(tmp_path / "d", {"artifact/network.bin": b"other"}).identity() != one.identity()


def test_every_altered_byte_is_refused(tmp_path: Path) -> None:
    """Whichever one it is, in headers, contents or directory."""
    make_bundle(tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 1 << place % 8
        (tmp_path / "b").write_bytes(altered)
        with pytest.raises(DamagedError):
            open_bundle(tmp_path / "b")


def test_every_other_length_is_refused(tmp_path: Path) -> None:
    """Cut anywhere, or with bytes behind its end."""
    make_bundle(tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    for content in (*(whole[:length] for length in range(len(whole))), whole + b"\0", whole + whole):
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(DamagedError):
            open_bundle(tmp_path / "b")


def rewritten(path: Path, changes) -> Path:
    """The members of a bundle written again by Python's zipfile, after `changes(infos)` on their headers."""
    out = path.with_name("rewritten")
    with ZipFile(path) as archive, ZipFile(out, "w") as other:
        infos = []
        for entry in archive.infolist():
            info = ZipInfo(entry.filename)
            info.create_system, info.external_attr, info.create_version = 3, 0o100644 << 16, 20
            infos.append((info, archive.read(entry)))
        changes(infos)
        for info, content in infos:
            other.writestr(info, content)
    return out


def test_zipfile_writes_the_same_bytes(tmp_path: Path) -> None:
    """So what the next test alters is refused for the alteration."""
    make_bundle(tmp_path / "a")
    assert rewritten(tmp_path / "a", lambda infos: None).read_bytes() == (tmp_path / "a").read_bytes()


def linked(infos) -> None:
    infos[2][0].external_attr = 0o120777 << 16


def renamed(infos) -> None:
    infos[3][0].filename = "../../../etc/cron.d/evil"


def added(infos) -> None:
    infos.append((ZipInfo("artifact/../../evil"), b"evil"))


def doubled(infos) -> None:
    infos.append(infos[-1])


def executable(infos) -> None:
    infos[1][0].external_attr = 0o104755 << 16


def commented(infos) -> None:
    infos[1][0].extra = b"\x01\x00\x04\x00evil"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("changes", [linked, renamed, added, doubled, executable, commented])
def test_other_members_are_refused(tmp_path: Path, changes) -> None:
    """Links, names that lead out, members that no manifest lists or that come twice, other attributes."""
    make_bundle(tmp_path / "a")
    altered = rewritten(tmp_path / "a", changes)
    with pytest.raises(DamagedError, match="nothing was written"):
        open_bundle(altered)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "artifact/../../evil",
        "artifact/.hidden",
        "artifact/a/b",
        "edge/../evil.py",
        "a\\b",
        "",
        "wheels/x.py",
        "artifact/",
        "artifact/a\nb",
        "artifact/a\0b",
        "artifact/ä",
        "bundle.json",
        "edge/a/b/c.py",
    ],
)
def test_names_of_members_stay_inside(tmp_path: Path, name: str) -> None:
    """A manifest with such a name is refused, whatever the archive holds."""
    bundle = make_bundle(tmp_path / "a")
    text = bundle.encode().replace(b'"artifact/network.bin"', repr(name).replace("'", '"').encode())
    with pytest.raises(DamagedError):
        decode(text, "a")


def test_a_ten_gigabyte_header_allocates_nothing(tmp_path: Path) -> None:
    """Neither one before the manifest nor one that the manifest lists."""
    make_bundle(tmp_path / "a")
    whole = bytearray((tmp_path / "a").read_bytes())
    whole[18:26] = struct.pack("<2I", 2**32 - 2, 2**32 - 2)
    (tmp_path / "b").write_bytes(whole)
    with pytest.raises(DamagedError, match="4294967294 bytes, of the 4194304 allowed"):
        open_bundle(tmp_path / "b")
    huge = make_bundle(tmp_path / "a").encode().replace(b'"bytes": 256', b'"bytes": 10737418240')
    (tmp_path / "c").write_bytes(whole_with_manifest(huge))
    with pytest.raises(DamagedError, match="its manifest lists 1073741"):
        open_bundle(tmp_path / "c")


def whole_with_manifest(text: bytes) -> bytes:
    """The beginning of an archive whose manifest is `text`."""
    from zlib import crc32

    size = len(text)
    header = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0x21, crc32(text), size, size, 11, 0)
    return header + b"bundle.json" + text


@pytest.mark.parametrize(
    "wheel",
    [
        make_wheel({"../evil.py": b""}),
        make_wheel({"/etc/evil": b""}),
        make_wheel({"one.data/purelib/../../evil.py": b""}),
        make_wheel({"one/link.py": b"/etc/passwd"}, mode=0o120777),
        make_wheel({"one/pipe.py": b""}, mode=0o010644),
        make_wheel({"a\\..\\b.py": b""}),
        b"no wheel",
        make_wheel({"one.py": b""})[:-3],
    ],
)
def test_wheels_stay_inside(tmp_path: Path, wheel: bytes) -> None:
    """A wheel that a manifest lists, with a file that would lie elsewhere or a link, is refused before unpacking."""
    make_bundle(tmp_path / "a", {"wheels/one-1-py3-none-any.whl": wheel})
    with pytest.raises(DamagedError):
        open_bundle(tmp_path / "a")


def test_a_bundle_is_refused_after_its_last_day(tmp_path: Path) -> None:
    """By the clock of the board; one without a last day never is."""
    make_bundle(tmp_path / "a", expires=None).refuse_expired("a")
    make_bundle(tmp_path / "b", expires="2099-12-31").refuse_expired("b")
    with pytest.raises(DamagedError, match="until 2020-02-29, and the clock says 20"):
        make_bundle(tmp_path / "c", expires="2020-02-29").refuse_expired("c")


def test_no_file_and_no_bundle(tmp_path: Path) -> None:
    """Each is said plainly."""
    with pytest.raises(InputError, match="No such file"):
        open_bundle(tmp_path / "missing")
    (tmp_path / "text").write_text("hello, I am no bundle at all, but a text of some length\n" * 3)
    with pytest.raises(DamagedError, match="is no bundle"):
        open_bundle(tmp_path / "text")


def test_reading_writes_nothing(tmp_path: Path) -> None:
    """Whether it is refused or not."""
    make_bundle(tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "b").write_bytes(whole[:-1])
    before = sorted(tmp_path.iterdir())
    for name in ("a", "b"):
        try:
            open_bundle(tmp_path / name)
        except EdgeError:
            assert name == "b"
    assert sorted(tmp_path.iterdir()) == before
