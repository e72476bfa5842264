"""What a board is and holds, as one line of JSON; sent to it as text, so any Python 3 must read this file.

Run with sys.argv = [-, PLACE, SHA256]: where our folder is, and the name of the program that follows on standard
input, if one does: it is kept in PLACE/tools. Nothing else is written.
"""

import fcntl
import json
import os
import platform
import struct
import sys
import sysconfig
import time
from typing import Any


def keep(program: bytes, place: str, name: str) -> None:
    """Put the program into our folder, whole or not at all."""
    tools = os.path.join(place, "tools")
    tool = os.path.join(tools, name + ".pyz")
    if os.path.exists(tool):
        return
    if not os.path.isdir(tools):
        os.makedirs(tools)
    beside = "%s.%d" % (tool, os.getpid())
    with open(beside, "wb") as out:
        out.write(program)
        out.flush()
        os.fsync(out.fileno())
    os.rename(beside, tool)


def memory() -> "dict[str, int]":
    """Bytes of memory by the kernel's names; empty where it tells nothing."""
    found = {}
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                words = line.split()
                if words[0] in ("MemTotal:", "MemAvailable:"):
                    found[words[0][:-1]] = int(words[1]) * 1024
    except (OSError, ValueError, IndexError):
        return {}
    return found


def free(place: str) -> int:
    """Bytes that may be written where our folder is, or will be."""
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize


def sizes(folder: str) -> "dict[str, int]":
    """The names in a folder, with their sizes in bytes."""
    try:
        return {name: os.stat(os.path.join(folder, name)).st_size for name in os.listdir(folder)}
    except OSError:
        return {}


def newest(place: str) -> Any:
    """The highest version that was ever active."""
    try:
        with open(os.path.join(place, "newest.json")) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {"version": 0, "identity": ""}


def active(place: str) -> Any:
    """The name of the active version; None if there is none."""
    try:
        return os.path.basename(os.readlink(os.path.join(place, "active")))
    except OSError:
        return None


def told(path: str) -> Any:
    """The JSON of a file; None if there is none."""
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def at_work(folder: str) -> bool:
    """True while a process is at the run of this folder."""
    try:
        with open(os.path.join(folder, "running")) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def runs(folder: str) -> "list[dict[str, Any]]":
    """The runs that were begun here, the latest last: version, whether it is at work, its exit code if it ended."""
    found = []
    for name in sizes(folder):
        job, ended = (told(os.path.join(folder, name, file)) for file in ("job.json", "ended.json"))
        if job is not None:
            running = at_work(os.path.join(folder, name))
            begun = os.stat(os.path.join(folder, name, "job.json")).st_mtime
            code = None if ended is None or running else ended["code"]
            found.append({"run": name, "version": job["version"], "running": running, "code": code, "begun": begun})
    return sorted(found, key=lambda run: run["begun"])


def main() -> None:
    """Keep the program if one came, and tell."""
    place = os.path.abspath(os.path.expanduser(sys.argv[1]))
    program = sys.stdin.buffer.read()
    if program:
        keep(program, place, sys.argv[2])
    found = memory()
    facts = {
        "place": place,
        "python": list(sys.version_info[:2]),
        "machine": os.uname().machine,
        "bits": struct.calcsize("P") * 8,
        "library": "musl" if "musl" in str(sysconfig.get_config_var("SOABI")) else "glibc",
        "library_version": platform.libc_ver()[1],
        "memory_bytes": found.get("MemTotal"),
        "available_bytes": found.get("MemAvailable"),
        "disk_free_bytes": free(place),
        "clock": time.time(),
        "content": sizes(os.path.join(place, "content")),
        "versions": sorted(sizes(os.path.join(place, "versions"))),
        "newest": newest(place),
        "active": active(place),
        "runs": runs(os.path.join(place, "jobs")),
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
