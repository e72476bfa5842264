"""Which logs there are, by the name that `--log` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from mest.errors import InputError
from mest.log.log import Log, Nowhere
from mest.log.tensorboard import TensorBoardLog
from mest.log.wandb import WandbLog

NONE = "none"


@dataclass(frozen=True)
class LogSpec:
    """What `--log` asks for: the name of a log, and what follows the colon, if anything."""

    name: str = NONE
    where: str | None = None


@dataclass(frozen=True)
class Kind:
    """A log: what it imports, the extra that brings it, what may follow the colon, and what opens one.

    `open` gets what follows the colon or None, the folder of the run, and the run's options.
    """

    module: str
    extra: str
    where: str
    open: Callable[[str | None, Path, Mapping[str, Any]], Log]


LOGS: dict[str, Kind] = {
    "tensorboard": Kind(TensorBoardLog.module, "log", "DIR", TensorBoardLog),
    "wandb": Kind(WandbLog.module, "wandb", "PROJECT", WandbLog),
}


def parse_log(given: str) -> LogSpec:
    """What `--log` asks for; raises ValueError with what is allowed, or how the package that is missing is installed.

    The package is imported here, so that a run that could not log is refused before it begins.
    """
    name, colon, where = given.partition(":")
    if given == NONE:
        return LogSpec()
    if name not in LOGS or (colon and not where):
        raise ValueError(f"allowed are {', '.join([NONE, *(f'{log}[:{kind.where}]' for log, kind in LOGS.items())])}")
    kind = LOGS[name]
    try:
        import_module(kind.module)
    except ImportError as missing:
        from mest.install import how_to_install  # not before: it holds what reads the metadata of packages

        raise ValueError(f"needs the package {name} ({missing}); {how_to_install(kind.extra)}") from missing
    return LogSpec(name, where or None)


def open_log(spec: LogSpec, run: Path, options: Mapping[str, Any]) -> Log:
    """The log that a run at `run` with these options writes to; raises InputError where its library refuses."""
    if spec.name == NONE:
        return Nowhere()
    try:
        return LOGS[spec.name].open(spec.where, run, options)
    except InputError:
        raise
    except Exception as failed:  # whatever the library raises (no login, no network) is said in one line
        reason = (str(failed).strip() or type(failed).__name__).splitlines()[0]
        raise InputError(f"--log {spec.name}: cannot be opened ({reason}); mend that, or leave it out") from failed
