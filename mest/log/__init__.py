"""Numbers of a run in the viewers people have: TensorBoard's files and Weights & Biases, each by its own library."""

from mest.log.log import Log
from mest.log.registry import LogSpec, open_log, parse_log

__all__ = ["Log", "LogSpec", "open_log", "parse_log"]
