"""TensorBoard's event files, written by its own package: without TensorFlow and without PyTorch, so on a board too."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mest.log.log import Log

FOLDER = "tensorboard"


class TensorBoardLog(Log):
    """Event files in a folder, by default `tensorboard` in the run's; `tensorboard --logdir` shows it."""

    module = "tensorboard.summary.writer.event_file_writer"

    def __init__(self, where: str | None, run: Path, options: Mapping[str, Any]) -> None:
        """`where` is the folder; nothing is written before the first values come."""
        self._folder = run / FOLDER if where is None else Path(where)
        self._writer: Any = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """A point on each curve, written and flushed."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._open(step)
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))
        self._writer.flush()

    def _open(self, step: int) -> None:
        """A file of its own for each start; it says which steps of earlier files it takes the place of."""
        if self._writer is None:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self._writer = EventFileWriter(str(self._folder))
            start = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=step, session_log=start))

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()
