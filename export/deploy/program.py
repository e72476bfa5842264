"""The program that travels to a board: the modules of `edge.install` and the few that they need, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import edge

# What `edge.install` imports; tests/export/test_deploy_program.py runs it where there is nothing else.
_FILES = ("digest", "durable", "fields", "lock")
_PACKAGE = b'"""The part of edge that installs; the whole of it comes with the wheel."""\n'
# No syntax that an older Python could not read: it has to say that it is too old.
_MAIN = """import sys

if sys.version_info < (3, 10):
    sys.stderr.write("needs Python 3.10 or newer, this is %d.%d\\n" % sys.version_info[:2])
    sys.exit(2)
from edge.install.{module} import main

sys.exit(main())
"""


def program(module: str) -> dict[str, bytes]:
    """The program's files by name; `module` of `edge.install` has its `main`."""
    root = Path(edge.__file__).parent
    files = {"__main__.py": _MAIN.format(module=module).encode(), "edge/__init__.py": _PACKAGE}
    names = ["errors.py", "files/__init__.py", *(f"files/{name}.py" for name in _FILES)]
    names += [f"install/{path.name}" for path in sorted((root / "install").glob("*.py"))]
    return {**files, **{f"edge/{name}": (root / name).read_bytes() for name in names}}


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The files as one that Python runs; the same for the same files."""
    out = BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(ZipInfo(name), content, ZIP_DEFLATED)
    return out.getvalue()
