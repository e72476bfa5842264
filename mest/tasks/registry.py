"""Every task by its name."""

from __future__ import annotations

from mest.tasks.classification import Classification
from mest.tasks.multilabel import Multilabel
from mest.tasks.reconstruction import Reconstruction
from mest.tasks.regression import Regression
from mest.tasks.segmentation import Segmentation
from mest.tasks.task import Task

CLASSIFICATION = Classification()
TASKS: dict[str, Task] = {
    task.name: task for task in (CLASSIFICATION, Multilabel(), Regression(), Reconstruction(), Segmentation())
}
