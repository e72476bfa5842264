"""What batches of an artifact's inputs, targets and answers take."""

from __future__ import annotations

from math import prod

import numpy as np

from edge.handover.artifact import Artifact
from edge.plan.process import DataNeeds


def data_needs(artifact: Artifact, samples: int = 0, decoder_bytes: int = 0) -> DataNeeds:
    """The bytes of reading so many samples in batches, and of answers where a task has many numbers in each."""
    task, output = artifact.network.task, artifact.network.output
    if task.of_classes:
        return DataNeeds(samples, decoder_bytes, 4 * prod(artifact.shape))
    target_bytes = prod(task.target(output)) * np.dtype(task.dtype).itemsize
    return DataNeeds(samples, decoder_bytes, 4 * prod(artifact.shape), target_bytes, 4 * prod(output))
