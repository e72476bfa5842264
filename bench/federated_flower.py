"""A federation of real Flower processes on this machine: a SuperLink, SuperNodes, and runs that are sent to them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "examples" / "flower"
START_SECONDS, RUN_SECONDS = 60.0, 1800.0


class Federation:
    """Running processes; `nodes` are those of the clients, in the order of their configurations."""

    def __init__(self, folder: Path, environment: Mapping[str, str], nodes: Sequence[subprocess.Popen[bytes]]) -> None:
        self.nodes = list(nodes)
        self._folder = folder
        self._environment = environment

    def run(self, out: Path, given: Mapping[str, Any], watch: Callable[[], None] = lambda: None) -> None:
        """Send a run and wait until `out` has all of its rounds; `watch` is called while it goes on."""
        app = self._folder / "app"
        shutil.rmtree(app, ignore_errors=True)
        shutil.copytree(APP, app)
        words = " ".join(f"{name}={_toml(value)}" for name, value in {**given, "out": str(out)}.items())
        command = [program("flwr"), "run", str(app), "bench", "--run-config", words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"flwr run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        rounds, ends = out / "rounds.jsonl", time.monotonic() + RUN_SECONDS
        while not rounds.exists() or len(rounds.read_text().splitlines()) < given["rounds"]:
            if time.monotonic() > ends:
                raise SystemExit(f"{out}: no end of the rounds; see the logs in {self._folder}")
            watch()
            time.sleep(0.1)

    def kill(self, number: int) -> None:
        """End a client's processes at once, as a power cut would."""
        os.killpg(self.nodes[number].pid, signal.SIGKILL)
        self.nodes[number].wait()

    def peak_bytes(self, number: int) -> int | None:
        """The most memory that a SuperNode's own process ever held, as the kernel counts it."""
        try:
            lines = Path(f"/proc/{self.nodes[number].pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


@contextmanager
def federation(folder: Path, clients: Sequence[Mapping[str, Any]], secured: bool = False) -> Iterator[Federation]:
    """A SuperLink and a SuperNode for each client's configuration, ended with the block. Logs lie in the folder.

    `secured` encrypts every connection and lets in no SuperNode but those, each by a key of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    link, *ports = free_ports(1 + len(clients))
    home = folder / "home"
    home.mkdir(exist_ok=True)
    security = Secured(folder) if secured else Insecure()
    (home / "config.toml").write_text(f'[superlink.bench]\naddress = "127.0.0.1:{link}"\n{security.in_config}\n')
    environment = {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *words: str) -> subprocess.Popen[bytes]:
        log = open(folder / f"{name}.log", "wb")  # noqa: SIM115 - the process writes into it as long as it runs
        one = subprocess.Popen(words, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)
        started.append(one)
        return one

    try:
        options = (*security.of_link, "--disable-runtime-dependency-installation", "--port", str(link))
        start("superlink", program("flower-superlink"), *options)
        until_open(link)
        nodes = []
        for number, (client, port) in enumerate(zip(clients, ports, strict=True)):
            words = " ".join(f"{name}={_toml(value)}" for name, value in client.items())
            own = security.of_node(number, environment)
            options = (*own, "--superlink", f"127.0.0.1:{link}", "--port", str(port), "--node-config", words)
            nodes.append(start(f"node-{number}", program("flower-supernode"), *options))
        for port in ports:
            until_open(port)
        yield Federation(folder, environment, nodes)
    finally:
        for one in reversed(started):
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGTERM)
        for one in started:
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, signal.SIGKILL)


class Insecure:
    """Words to Flower's programs for connections in the clear, from whoever comes."""

    in_config = "insecure = true"
    of_link = ("--insecure",)

    def of_node(self, number: int, environment: Mapping[str, str]) -> tuple[str, ...]:
        return ("--insecure",)


class Secured:
    """The same with a certificate of the SuperLink's own, and a key for each SuperNode that is registered there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        key, certificate = folder / "server.key", folder / "server.crt"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        words += ["-days", "365", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        run_quietly([*words, "-keyout", str(key), "-out", str(certificate)])
        self._certificate = str(certificate)
        self.in_config = f'root-certificates = "{certificate}"'
        self.of_link = ("--ssl-ca-certfile", self._certificate, "--ssl-certfile", self._certificate)
        self.of_link += ("--ssl-keyfile", str(key), "--enable-supernode-auth")

    def of_node(self, number: int, environment: Mapping[str, str]) -> tuple[str, ...]:
        key = self._folder / f"node-{number}.key"
        run_quietly(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", str(key)])
        run_quietly([program("flwr"), "supernode", "register", f"{key}.pub", "bench"], environment)
        return ("--root-certificates", self._certificate, "--auth-supernode-private-key", str(key))


def run_quietly(words: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end; ends this program with what it said if it fails."""
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:3])}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def program(name: str) -> str:
    """A program of Flower's beside this Python."""
    found = Path(sys.executable).parent / name
    if not found.exists():
        raise SystemExit(f"{found}: is missing; install the extra 'flower' into this environment")
    return str(found)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def until_open(port: int) -> None:
    """Wait until somebody listens."""
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > ends:
                raise SystemExit(f"port {port}: nobody listens after {START_SECONDS:g} s") from None
            time.sleep(0.2)


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
