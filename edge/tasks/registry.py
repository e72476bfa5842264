"""Every task by its name."""

from __future__ import annotations

from edge.tasks.classification import Classification
from edge.tasks.multilabel import Multilabel
from edge.tasks.reconstruction import Reconstruction
from edge.tasks.regression import Regression
from edge.tasks.segmentation import Segmentation
from edge.tasks.task import Task

CLASSIFICATION = Classification()
TASKS: dict[str, Task] = {
    task.name: task for task in (CLASSIFICATION, Multilabel(), Regression(), Reconstruction(), Segmentation())
}
