"""A run of Weights & Biases. Its own environment variables hold: WANDB_MODE=offline needs no network and no login."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mest.errors import InputError
from mest.log.log import Log

PROJECT = "mest"
ID_FILE = "wandb.json"  # in the run's folder: by it a continued run goes on as the same run there


class WandbLog(Log):
    """A run in a project, `mest` unless another is given or WANDB_PROJECT is set, with the options as its config."""

    module = "wandb"

    def __init__(self, where: str | None, run: Path, options: Mapping[str, Any]) -> None:
        """`where` is the project. Files of wandb go into the run's folder unless WANDB_DIR is set."""
        import wandb

        run.mkdir(parents=True, exist_ok=True)
        known = _known_id(run / ID_FILE)
        self._run: Any = wandb.init(
            project=where or os.environ.get("WANDB_PROJECT") or PROJECT,
            name=os.environ.get("WANDB_NAME") or run.resolve().name,
            dir=os.environ.get("WANDB_DIR") or str(run),
            config=dict(options),
            settings={"console": "off"},  # standard output is the command's own
            **({} if known is None else {"id": known, "resume": "allow"}),
        )
        (run / ID_FILE).write_text(json.dumps({"id": self._run.id}) + "\n")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A row of the run's history; wandb sends it, or keeps it where it is offline."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run there; a continued one opens it again."""
        self._run.finish()


def _known_id(path: Path) -> str | None:
    """The id that an earlier part of this run got, None for a new run."""
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text())["id"])
    except (ValueError, TypeError, KeyError) as wrong:
        raise InputError(f"{path}: does not say the id of a run of wandb; remove it, and a new one begins") from wrong
