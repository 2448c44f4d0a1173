"""From a data set with a column of labels a task to the tasks, and to the labels of each split."""

import warnings
from collections.abc import Mapping

import numpy as np
from keras import ops

from tlkit.data import Dataset, Split
from tlkit.errors import TlkitWarning
from tlkit.techniques.multi_task.columns import infer_tasks, labels_for
from tlkit.techniques.multi_task.tasks import Task
from tlkit.techniques.multi_task.writing import is_missing, parts_of


def tasks_for(data: Dataset, kinds: Mapping[str, str] | None = None) -> dict[str, Task]:
    """Choose a task for each column of a data set's attributes; see `infer_tasks`.

    What a column holds is judged by all images, its classes and its scale by the training images alone.

    Raises:
        UnknownNameError, DataError: as `infer_tasks`.
    """
    columns = {
        name: np.concatenate([split.attributes[name] for split in data.splits.values()])
        for name in data.train.attributes
    }
    kinds = {name: task.kind for name, task in infer_tasks(columns, kinds).items()}
    return infer_tasks(data.train.attributes, kinds)


def encoded(data: Dataset, tasks: Mapping[str, Task]) -> dict[str, dict[str, np.ndarray]]:
    """Return the labels of every split by task; a class that no training image has counts as missing.

    Warns of the classes that are left out, and of tasks without a label in validation or test.

    Raises:
        DataError: a label does not fit its task.
    """
    labels = {"train": labels_for(data.train, tasks)}
    for part, split in data.splits.items():
        if part == "train":
            continue
        columns = dict(split.attributes)
        for name, task in tasks.items():
            if task.class_names is not None:
                columns[name] = _only_known(columns[name], name, task, part)
        labels[part] = labels_for(Split(split.images, attributes=columns), tasks)
        for name, task in tasks.items():
            if not ops.convert_to_numpy(task.known(labels[part][name])).any():
                warnings.warn(
                    f"No {part} image has a label of {name!r}, so nothing judges it there. Label some, or "
                    "mark them in a column 'split'.",
                    TlkitWarning,
                    stacklevel=2,
                )
    return labels


def _only_known(column: np.ndarray, name: str, task: Task, part: str) -> np.ndarray:
    known = set(task.class_names or ())
    parts = [set(parts_of(text)) if task.kind == "multi-label" else {text} for text in column.astype(str)]
    new = [set() if is_missing(text) else of - known for text, of in zip(column, parts, strict=True)]
    if any(new):
        shown, count = sorted(set().union(*new)), sum(map(bool, new))
        warnings.warn(
            f"{count} {part} {'image has' if count == 1 else 'images have'} a {name!r} that no training "
            f"image has ({', '.join(shown[:3])}{', ...' if len(shown) > 3 else ''}): left out.",
            TlkitWarning,
            stacklevel=3,
        )
    return np.array(["" if strange else text for text, strange in zip(column, new, strict=True)])
