"""Control groups by the kernel's rules, in a tree of files that keeps them: what is refused there is refused here."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edge.host import cgroup
from edge.host.cgroup import join_group, outside_limits
from edge.host.counters import Meter, untrusted_reason
from edge.host.limits import Enforcement

MIB = 1 << 20
ME = os.getpid()
MEMORY_FILES = {
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "memory.current": "0\n",
    "memory.peak": "0\n",
}


class Kernel:
    """A cgroup v2 file system in a folder: delegation, no internal processes, files by the parent's controllers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.owned: set[Path] = set()  # groups that were delegated to this user
        root.mkdir()
        self._files(root, "cpu memory pids")

    def _files(self, group: Path, controllers: str) -> None:
        (group / "cgroup.controllers").write_text(controllers + "\n")
        (group / "cgroup.subtree_control").write_text("\n")
        (group / "cgroup.procs").write_text("")
        if group != self.root and "memory" in controllers.split():
            self._memory(group)

    def _memory(self, group: Path) -> None:
        for name, content in MEMORY_FILES.items():
            (group / name).write_text(content)

    def words(self, group: Path, name: str) -> list[str]:
        return (group / name).read_text().split()

    def children(self, group: Path) -> list[Path]:
        return [entry for entry in group.iterdir() if entry.is_dir()]

    def add(self, path: str, controllers: str = "", owned: bool = False, processes: str = "") -> Path:
        """A group as the system's manager makes it, with the controllers that it passes on."""
        group = self.root / path
        group.mkdir()
        self._files(group, " ".join(self.words(group.parent, "cgroup.subtree_control")))
        (group / "cgroup.subtree_control").write_text(controllers + "\n")
        (group / "cgroup.procs").write_text(processes)
        if owned:
            self.owned.add(group)
        return group

    def _refuse(self, condition: bool, number: int) -> None:
        if condition:
            raise OSError(number, os.strerror(number))

    def make(self, group: Path) -> None:
        self._refuse(group.parent not in self.owned, errno.EACCES)
        self.add(str(group.relative_to(self.root)), owned=True)

    def drop(self, group: Path) -> None:
        self._refuse(group.parent not in self.owned, errno.EACCES)
        self._refuse(bool(self.words(group, "cgroup.procs") or self.children(group)), errno.EBUSY)
        for file in group.iterdir():
            file.unlink()
        group.rmdir()
        self.owned.discard(group)

    def write(self, file: Path, text: str) -> None:
        group, name = file.parent, file.name
        self._refuse(not file.exists(), errno.ENOENT)
        if name == "cgroup.procs":
            self._move(group, text)
        elif name == "cgroup.subtree_control":
            self._refuse(group not in self.owned, errno.EACCES)
            self._control(group, text)
        else:  # what limits a group belongs to its parent's owner
            self._refuse(group.parent not in self.owned, errno.EACCES)
            self._refuse(not (text.isdigit() or text == "max"), errno.EINVAL)
            file.write_text(text + "\n")

    def _move(self, group: Path, pid: str) -> None:
        (home,) = (f.parent for f in self.root.rglob("cgroup.procs") if pid in f.read_text().split())
        common = next(g for g in (group, *group.parents) if g == home or g in home.parents)
        self._refuse(not {group, common} <= self.owned, errno.EACCES)
        self._refuse(group != self.root and bool(self.words(group, "cgroup.subtree_control")), errno.EBUSY)
        for place in (home, group):
            pids = [each for each in self.words(place, "cgroup.procs") if each != pid]
            (place / "cgroup.procs").write_text("\n".join([*pids, pid] if place == group else pids))

    def _control(self, group: Path, text: str) -> None:
        assert text in ("+memory", "-memory")
        enabled = set(self.words(group, "cgroup.subtree_control"))
        if text == "+memory":
            self._refuse("memory" not in self.words(group, "cgroup.controllers"), errno.ENOENT)
            self._refuse(group != self.root and bool(self.words(group, "cgroup.procs")), errno.EBUSY)
            enabled.add("memory")
        else:
            using = [c for c in self.children(group) if "memory" in self.words(c, "cgroup.subtree_control")]
            self._refuse(bool(using), errno.EBUSY)
            enabled.discard("memory")
        (group / "cgroup.subtree_control").write_text(" ".join(sorted(enabled)) + "\n")
        for child in self.children(group):
            (child / "cgroup.controllers").write_text(" ".join(sorted(enabled)) + "\n")
            for name in MEMORY_FILES:
                (child / name).unlink(missing_ok=True)
            if "memory" in enabled:
                self._memory(child)


@pytest.fixture
def kernel(tmp_path, monkeypatch) -> Kernel:
    """A machine of version 2 whose manager passes memory on to its slices."""
    kernel = Kernel(tmp_path / "cgroup")
    (kernel.root / "cgroup.subtree_control").write_text("cpu memory pids\n")
    monkeypatch.setattr(cgroup, "_ROOT", kernel.root)
    for name in ("make", "drop", "write"):
        monkeypatch.setattr(cgroup, f"_{name}", getattr(kernel, name))
    return kernel


@pytest.fixture
def living_in(monkeypatch):
    """A function that says in which group this process is."""

    def put(path: str, version_1: str = "") -> None:
        monkeypatch.setattr(cgroup, "_membership", lambda: f"{version_1}0::{path}\n")

    return put


def test_a_user_s_scope_goes_beside_itself(kernel, living_in) -> None:
    """systemd-run --user --scope: the slice above is the user's and has memory, so a sibling takes the process."""
    kernel.add("user.slice", "memory pids")
    kernel.add("user.slice/user@1000.service", "memory pids", owned=True)
    app = kernel.add("user.slice/user@1000.service/app.slice", "memory pids", owned=True)
    home = kernel.add("user.slice/user@1000.service/app.slice/run-7.scope", owned=True, processes=str(ME))
    living_in(f"/{home.relative_to(kernel.root)}")
    group = join_group(48 * MIB)
    assert group is not None
    assert (group.version, group.path, group.swap_off) == ("cgroup v2", app / f"mest-{ME}", True)
    assert kernel.words(group.path, "memory.max") == [str(48 * MIB)]
    assert kernel.words(group.path, "memory.swap.max") == ["0"]
    assert kernel.words(group.path, "cgroup.procs") == [str(ME)]
    group.leave()
    assert kernel.words(home, "cgroup.procs") == [str(ME)]
    assert kernel.children(app) == [home]


def test_a_delegated_service_goes_below_itself(kernel, living_in) -> None:
    """Delegate=yes on a service of the system: only its own group is the user's, and memory is switched on there."""
    kernel.add("system.slice", "memory pids")
    home = kernel.add("system.slice/mest.service", owned=True, processes=str(ME))
    living_in("/system.slice/mest.service")
    group = join_group(64 * MIB)
    assert group is not None
    assert group.path.parent == home
    assert kernel.words(group.path, "memory.max") == [str(64 * MIB)]
    assert kernel.words(home, "cgroup.procs") == []
    group.leave()
    assert kernel.words(home, "cgroup.procs") == [str(ME)]
    assert kernel.words(home, "cgroup.subtree_control") == []
    assert kernel.children(home) == []


@pytest.mark.parametrize("case", ["login", "shared", "no memory", "no controllers"])
def test_what_is_not_delegated_is_left_as_it_was(kernel, living_in, case: str) -> None:
    """A login session, a service with other processes, a slice without the controller, a machine without any."""
    kernel.add("some.slice", "pids" if case == "no memory" else "memory pids")
    processes = f"{ME}\n{ME + 1}" if case == "shared" else str(ME)
    home = kernel.add("some.slice/home", owned=case != "login", processes=processes)
    if case == "no controllers":
        (kernel.root / "cgroup.controllers").unlink()
    living_in("/some.slice/home")
    assert join_group(64 * MIB) is None
    assert set(kernel.words(home, "cgroup.procs")) == set(processes.split())
    assert kernel.words(home, "cgroup.subtree_control") == []
    assert kernel.children(home) == []
    assert kernel.children(home.parent) == [home]


def test_a_group_that_a_killed_run_left_is_removed(kernel, living_in) -> None:
    """An empty one; one that another run is in stays."""
    kernel.add("a.slice", "memory", owned=True)
    home = kernel.add("a.slice/home", owned=True, processes=str(ME))
    kernel.add("a.slice/mest-1", owned=True)
    used = kernel.add("a.slice/mest-2", owned=True, processes="2")
    living_in("/a.slice/home")
    group = join_group(MIB)
    assert group is not None
    assert set(kernel.children(home.parent)) == {home, used, group.path}


def test_plain_files_are_no_control_group(tmp_path, living_in, monkeypatch) -> None:
    """Where no controller is, nothing is written that a plain file system would take."""
    root = tmp_path / "plain"
    (root / "slice" / "home").mkdir(parents=True)
    (root / "cgroup.controllers").write_text("memory\n")
    (root / "slice" / "cgroup.subtree_control").write_text("memory\n")
    (root / "slice" / "home" / "cgroup.procs").write_text(f"{ME}\n")
    monkeypatch.setattr(cgroup, "_ROOT", root)
    living_in("/slice/home")
    assert join_group(MIB) is None
    assert list((root / "slice").rglob("memory.max")) == []
    assert list((root / "slice").glob("mest-*")) == []


@pytest.mark.parametrize(
    ("home", "slice_", "expected"),
    [
        ("67108864", "max", 64 * MIB),
        ("max", "50331648", 48 * MIB),
        ("67108864", "50331648", 48 * MIB),
        ("max", "max", None),
    ],
)
def test_limits_set_from_outside_are_read(kernel, living_in, home: str, slice_: str, expected: int | None) -> None:
    """MemoryMax= of a unit or of the slice above it: the smaller one holds."""
    kernel.add("a.slice", "memory")
    kernel.add("a.slice/mest.service", processes=str(ME))
    (kernel.root / "a.slice" / "memory.max").write_text(slice_ + "\n")
    (kernel.root / "a.slice" / "mest.service" / "memory.max").write_text(home + "\n")
    living_in("/a.slice/mest.service")
    assert outside_limits() == {"cgroup_v2": expected, "cgroup_v1": None}


@pytest.mark.parametrize("path", ["/docker/0f3a", "/", "/../../system.slice/docker-0f3a.scope"])
def test_in_a_container_the_mounted_root_is_the_own_group(tmp_path, living_in, monkeypatch, path: str) -> None:
    """docker run -m 64m, with and without a namespace of its own, in both versions."""
    root = tmp_path / "cgroup"
    (root / "memory").mkdir(parents=True)
    monkeypatch.setattr(cgroup, "_ROOT", root)
    (root / "memory.max").write_text("67108864\n")
    living_in(path)
    assert outside_limits()["cgroup_v2"] == 64 * MIB
    (root / "memory.max").unlink()
    (root / "memory" / "memory.limit_in_bytes").write_text("67108864\n")
    living_in("/", f"4:memory:{path}\n")
    assert outside_limits() == {"cgroup_v2": None, "cgroup_v1": 64 * MIB}
    (root / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert outside_limits()["cgroup_v1"] is None


@pytest.mark.skipif(untrusted_reason() is not None, reason=f"needs true counters: {untrusted_reason()}")
def test_a_guarantee_names_the_group_and_the_limit_from_outside(kernel, living_in) -> None:
    """What is left of the budget and room for the kernel's tables is set; a tighter limit from outside is said."""
    kernel.add("a.slice", "memory", owned=True)
    home = kernel.add("a.slice/home", owned=True, processes=str(ME))
    (home / "memory.max").write_text(str(32 * MIB))
    living_in("/a.slice/home")
    meter = Meter()
    assert meter.resident is not None
    budget = meter.resident + 40 * MIB
    enforcement = Enforcement(budget, meter)
    try:
        guarantee = enforcement.guarantee()
        (group,) = (child for child in kernel.children(home.parent) if child != home)
        assert 42 * MIB < int(kernel.words(group, "memory.max")[0]) <= 44 * MIB
        assert guarantee.limits == ("cgroup v2",)
        assert guarantee.swap == "off"
        assert "32.0 MiB, BELOW the budget, from outside" in guarantee.promise
    finally:
        enforcement.lift()
    assert kernel.children(home.parent) == [home]
