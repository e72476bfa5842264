"""Data sets, their preprocessing and their batches. Internal: see docs/python-api.md."""

from mest.data.dataset import DataSet, DataSpec, open_data, split_validation
from mest.data.preprocess import Preprocess

__all__ = ["DataSet", "DataSpec", "Preprocess", "open_data", "split_validation"]
