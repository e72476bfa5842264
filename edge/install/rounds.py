"""Runs that began with a state that was sent, as those of federated rounds do: once fetched they leave nothing."""

from __future__ import annotations

import shutil

from edge.files.digest import file_sha256
from edge.install.jobs import Job, data_folder
from edge.install.versions import Board


def forget(board: Board, but: str | None) -> list[str]:
    """Remove every such run with the state that it began with, but for one number and for what is at work.

    The numbers of the runs that went. The run goes last: as long as it is there, the next call finds what is left.
    """
    folder = board.root / "jobs"
    jobs = [Job(board, path.name) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    begun = {job.number: job.begin for job in jobs}
    kept = {job.number for job in jobs if begun[job.number] is None or job.number == but or job.running()}
    needed = {begun[number] for number in kept}
    gone = []
    for job in jobs:
        begin = begun[job.number]
        if job.number in kept or begin is None:
            continue
        if begin not in needed:
            _remove_data(board, begin)
        shutil.rmtree(job.folder)
        gone.append(job.number)
    return gone


def _remove_data(board: Board, number: str) -> None:
    """Remove data and their contents; other data and versions keep theirs, which are names of the same files."""
    folder = data_folder(board, number)
    if folder.is_dir():
        for path in folder.iterdir():
            board.store.path(file_sha256(path)).unlink(missing_ok=True)
        shutil.rmtree(folder)
