"""One board, from the first look at it to what it brings home. Every step may be cut and is safe to repeat."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.host.limits import format_size
from edge.install.archive import Member, Place
from edge.install.bundle import ARTIFACT, START, WHEELS
from export.deploy.channel import Channel, LostError, RefusedError
from export.deploy.copying import arrived, fed, unpacked_bytes
from export.deploy.data import THERE, Data
from export.deploy.health import judge
from export.deploy.home import draw_report, folder_of, plain_number, put_artifact, read_answer
from export.deploy.order import HEALTH, Order
from export.deploy.package import Package
from export.deploy.persistence import Persistence, number_of
from export.deploy.targets import Target, target_of
from mest.errors import InputError

_CLOCK_SECONDS = 86_400
_SPARE_BYTES = 32 * 2**20


class Deployment:
    """The steps for one board. `facts` has what is known so far, as plain JSON."""

    def __init__(self, channel: Channel, order: Order, say: Callable[[str], None]) -> None:
        self._channel = channel
        self._line = Persistence(channel, say)
        self._order = order
        self._say = say
        self._root = ""
        self.facts: dict[str, Any] = {"board": channel.board}

    def run(self) -> dict[str, Any]:
        """All of it; the board's part of the answer. Raises what ends it, with `facts` as far as it came."""
        order = self._order
        look = self._look()
        target, python = self._kind(look)
        package = self._versioned(order.package_for(target, python), look)
        data = [one for _, one in order.data.values() if one is not None]
        needed = self._needed(package, look, data)
        self._refuse_misfit(package, look, needed)
        if order.check:
            return self._said_alone(package, needed, look)
        self._send(package, data)
        version = self._install(package)
        self._plan(version)
        self._compare(version)
        self._activate(version)
        if order.command:
            self._to_the_end(version)
            self._bring_home(package)
        return {**self.facts, "exit_code": self._exit_code()}

    def roll_back(self) -> dict[str, Any]:
        """Make the version before the active one active again; raises where there is none."""
        self._look()
        self.facts["active"] = self._line.again(lambda: self._channel.call("back"))["active"]
        self._say(f"{self.facts['active']} is active again")
        return {**self.facts, "exit_code": 0}

    def _look(self) -> dict[str, Any]:
        try:
            look = self._channel.look(leave_program=not self._order.check)
        except LostError as error:
            raise InputError(str(error)) from None  # what cannot be reached at first is no lost connection
        self._root = str(look["place"])
        seconds = look["clock"] - time.time()
        notes = []
        if abs(seconds) > _CLOCK_SECONDS:
            notes.append(f"its clock is {abs(seconds) / 86_400:.0f} days {'ahead' if seconds > 0 else 'behind'}")
        python = "{}.{}".format(*look["python"])
        self.facts |= {
            "place": self._root,
            "machine": look["machine"],
            "python": python,
            "memory_bytes": look["memory_bytes"],
            "available_bytes": look["available_bytes"],
            "disk_free_bytes": look["disk_free_bytes"],
            "clock_ahead_seconds": round(seconds),
            "active_before": look["active"],
            "notes": notes,
        }
        memory = look["memory_bytes"]
        self._say(
            f"{look['machine']}, Python {python}, {format_size(memory) if memory else 'unknown'} of memory,"
            f" {format_size(look['disk_free_bytes'])} of disk free, active {look['active'] or 'nothing'}"
        )
        for note in notes:
            self._say(note)
        return look

    def _kind(self, look: Mapping[str, Any]) -> tuple[Target, str]:
        if tuple(look["python"]) < (3, 10):
            raise InputError(f"its Python is {self.facts['python']}; install Python 3.10 or newer there")
        return target_of(look["machine"], look["library"], look["bits"]), self.facts["python"]

    def _versioned(self, package: Package, look: Mapping[str, Any]) -> Package:
        """The package as the version that this board takes: the next, or the one that it knows it as."""
        bundle, newest = package.bundle, look["newest"]
        here = (look["machine"], look["library"], self.facts["python"])
        if (bundle.machine, bundle.library, bundle.python) != here:
            raise InputError(
                f"the bundle is for {bundle.machine} with {bundle.library} and Python {bundle.python}, the board is"
                f" {here[0]} with {here[1]} and Python {here[2]}; make one for it"
            )
        if not self._order.fixed:
            known = bundle.identity() == newest["identity"]
            package = package.of_version(int(newest["version"]) + (not known))
        self.facts["version"] = package.bundle.version
        return package

    def _needed(self, package: Package, look: Mapping[str, Any], data: Sequence[Data]) -> list[tuple[Member, Place]]:
        """What has to be copied, each content once, with the places that it is copied from."""
        bundle, content = package.bundle, look["content"]
        wanted = {member.name: member for member in (*bundle.inside(WHEELS), *bundle.inside(ARTIFACT))}
        wanted |= {member.name: member for member in bundle.members if member.name == START}
        every = [(member, package.places[name]) for name, member in wanted.items()]
        every += [(member, one.places[name]) for one in data for name, member in one.members.items()]
        missing = {
            member.sha256: (member, place) for member, place in every if content.get(member.sha256) != member.nbytes
        }
        whole = sum(member.nbytes for member, _ in every)
        rest = sum(member.nbytes - arrived(member, look["content"]) for member, _ in missing.values())
        self.facts |= {"bytes": whole, "to_copy_bytes": rest}
        return list(missing.values())

    def _refuse_misfit(self, package: Package, look: Mapping[str, Any], needed: Sequence[tuple[Member, Place]]) -> None:
        """Raise what does not fit this board, before anything is copied."""
        budget, memory = self._order.budget_bytes, look["memory_bytes"]
        if budget is not None and memory is not None and budget > memory:
            raise RefusedError(
                f"a memory budget of {format_size(budget)} does not fit: the board has {format_size(memory)} in all", 3
            )
        unpacked = sum(
            unpacked_bytes(package.places[member.name], member.nbytes)
            for member in package.bundle.inside(WHEELS)
            if any(member is one for one, _ in needed)
        )
        wanted = self.facts["to_copy_bytes"] + unpacked + (_SPARE_BYTES if needed else 0)
        self.facts["disk_needed_bytes"] = wanted
        if wanted > look["disk_free_bytes"]:
            raise InputError(
                f"needs {format_size(wanted)} of disk, {format_size(look['disk_free_bytes'])} are free at {self._root};"
                " make room there or choose another place"
            )

    def _said_alone(
        self, package: Package, needed: Sequence[tuple[Member, Place]], look: Mapping[str, Any]
    ) -> dict[str, Any]:
        name = f"{package.bundle.version}-{package.bundle.identity()[:12]}"
        known = name in look["versions"]
        self._say(
            f"would copy {format_size(self.facts['to_copy_bytes'])} in {len(needed)} files and"
            f" {'use' if known else 'install'} {name}; nothing was changed"
        )
        return {**self.facts, "would_install": None if known else name, "exit_code": 0}

    def _send(self, package: Package, data: Sequence[Data]) -> None:
        """Copy what is missing, from where it was cut, until all of it is there."""

        def send() -> dict[str, Any]:
            look = self._channel.look(leave_program=True)
            needed = self._needed(package, look, data)
            if not needed:
                return {"received": 0}
            if self.facts["to_copy_bytes"]:
                self._say(f"copying {format_size(self.facts['to_copy_bytes'])} in {len(needed)} files")
            return self._channel.call("receive", feed=fed(needed, look["content"]))

        began = self.facts["to_copy_bytes"]
        self._line.again(send)
        self.facts["copied_bytes"] = began
        for _, one in self._order.data.values():
            if one is not None:
                self._line.lay(one)

    def _install(self, package: Package) -> str:
        given = {
            "manifest": package.bundle.encode().decode(),
            "signature": package.signature.decode("ascii", "replace"),
        }
        answer = self._line.ask("install", given)
        self.facts["installed"] = str(answer["version"])
        agreement = answer["verified"].get("agreement", {})
        self._say(f"{answer['version']} is installed and verifies ({', '.join(agreement) or 'files'})")
        return str(answer["version"])

    def _plan(self, version: str) -> None:
        """Plan there, with the version that is not active yet; raises with what will not fit."""
        if not self._order.command:
            return
        words = [*self._order.plan, *self._data_words({"data"})]
        planned = self._line.ask("plan", words, version)
        if planned["code"]:
            self.facts["plan"] = planned["answer"]
            said = str(planned["said"]).removeprefix("mest plan: ")
            raise RefusedError(f"{said}; nothing was activated", int(planned["code"]))
        self.facts["plan"] = planned["answer"]
        peak = planned["answer"]["planned_peak_bytes"]
        self._say(f"planned peak {format_size(peak)}, engine {planned['answer']['engine']}")

    def _compare(self, version: str) -> None:
        """Evaluate there on held-out samples, if any were given; raises for a version that is worse than allowed."""
        if HEALTH not in self._order.data:
            return
        budget = self._order.budget_bytes
        words = ["--data", self._place_of(HEALTH), *([] if budget is None else ["--memory-budget", str(budget)])]
        found = self._line.ask("compare", {"words": words, "drop": self._order.health_drop}, version)
        self.facts["health"] = found
        if found["back"] is not None:
            self.facts["active"] = found["back"]
        self._say(judge(found, version, self._order.health_drop))

    def _activate(self, version: str) -> None:
        self._line.again(lambda: self._channel.call("activate", version))
        self.facts["active"] = version
        if self.facts["active_before"] != version:
            self._say(f"{version} is active")

    def _to_the_end(self, version: str) -> None:
        """Start the run, or find the one that was started before, and tell what it says until it ends."""
        words = [*self._order.command, *self._data_words({"data", "eval_data"})]
        number = number_of(version.partition("-")[2], words)
        self.facts["job"] = number

        def began(answer: Mapping[str, Any]) -> None:
            self.facts["resumes_on_boot"] = answer["on_boot"]
            by = f", and continued by {answer['on_boot']} if the board restarts" if answer["on_boot"] else ""
            self._say(f"run {number}: {answer['job']}{by}")

        asked = {"number": number, "version": version, "words": words, "on_boot": self._order.on_boot}
        ended = self._line.run(asked, began, self._say)
        self.facts["ended"] = {**ended, "seconds": plain_number(ended.get("seconds"))}
        if ended["back"]:
            self.facts["active"] = ended["back"]
            self._say(f"failed with exit code {ended['code']}; {ended['back']} is active again")

    def _bring_home(self, package: Package) -> None:
        into = self._order.out / folder_of(self._channel.board)
        self._line.bring(self.facts["job"], into)
        put_artifact(package, into)
        page = draw_report(into)
        self.facts |= {"home": str(into), "result": read_answer(into), "report": None if page is None else str(page)}
        self._say(f"state, record and report are in {into}")

    def _exit_code(self) -> int:
        return int(self.facts.get("ended", {}).get("code", 0))

    def _data_words(self, options: set[str]) -> list[str]:
        """The data options with where the data lie on this board."""
        words = []
        for name in self._order.data:
            if name in options:
                words += [f"--{name.replace('_', '-')}", self._place_of(name)]
        return words

    def _place_of(self, name: str) -> str:
        """Where the data of an option lie on this board."""
        given, one = self._order.data[name]
        return given.removeprefix(THERE) if one is None else one.place_in(self._root)
