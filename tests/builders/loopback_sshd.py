"""A real sshd on 127.0.0.1 as a board: a port, keys and a configuration of its own, nothing of the system's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
MISSING = None if SSHD and shutil.which("ssh") else "needs sshd and ssh (Debian: openssh-server, openssh-client)"


@dataclass
class Sshd:
    """A running server. `config` is for `ssh -F`; each of `names` is a board whose home is `homes[name]`."""

    folder: Path
    config: Path
    homes: dict[str, Path]
    port: int

    def connections(self) -> list[int]:
        """The processes of the server that hold a connection."""
        master = int((self.folder / "pid").read_text())
        return _children(master)

    def cut(self) -> int:
        """End every connection as a dead network would, without a word to the programs behind; how many there were."""
        found = self.connections()
        for pid in found:
            for inner in [*_children(pid), pid]:
                if "sshd" in _name(inner):
                    os.kill(inner, 9)
        return len(found)


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return ""


@contextmanager
def loopback_sshd(folder: Path, names: tuple[str, ...]) -> Iterator[Sshd]:
    """A server while the block runs, with a board for each name: the same machine with another home."""
    assert SSHD is not None
    folder.mkdir(parents=True, exist_ok=True)
    for key in ("host_key", *names):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    homes = {name: folder / f"home-{name}" for name in names}
    # By its key the server knows which board is meant: the same machine, with another home.
    (folder / "authorized_keys").write_text("".join(_authorized(folder / name, homes[name]) for name in names))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host_key",
        "PidFile": folder / "pid",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "AuthenticationMethods": "publickey",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "StrictModes": "no",
        "UsePAM": "no",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    text = ""
    host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    for name in names:
        homes[name].mkdir()
        text += f"Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder / name}\n"
        text += f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder / 'known_hosts'}\n"
    (folder / "ssh_config").write_text(text)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where a server of root separates its privileges
    # Not in the background by itself: this process ends it, whatever happens.
    log = open(folder / "sshd.log", "wb")  # noqa: SIM115 - closed below
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=log, stderr=log)
    try:
        _wait_for(port, server, folder)
        yield Sshd(folder, folder / "ssh_config", homes, port)
    finally:
        for pid in _children(server.pid):
            os.kill(pid, 15)
        server.terminate()
        server.wait(10)
        log.close()


def _authorized(key: Path, home: Path) -> str:
    command = f'cd {home} && HOME={home} PATH={home}/bin:$PATH exec /bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\"'
    return f'restrict,command="{command}" {key.with_suffix(".pub").read_text()}'


def _wait_for(port: int, server: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0 and (folder / "pid").is_file():
                return
        time.sleep(0.05)
    raise RuntimeError((folder / "sshd.log").read_text())


def processes_in(home: Path) -> list[int]:
    """The processes that were started with something of this home in their words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(home / ".mest") in words:
            found.append(int(path.parent.name))
    return found
