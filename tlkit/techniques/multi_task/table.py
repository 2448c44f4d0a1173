"""The tasks of a data set with one column of labels per task, and the labels of each split."""

import warnings
from collections.abc import Mapping

import numpy as np
from keras import ops

from tlkit.data import Dataset, Split
from tlkit.errors import DataError, TlkitWarning
from tlkit.techniques.multi_task.columns import infer_tasks, labels_for
from tlkit.techniques.multi_task.tasks import Task
from tlkit.techniques.multi_task.writing import is_missing, parts_of


def tasks_for(data: Dataset, kinds: Mapping[str, str] | None = None) -> dict[str, Task]:
    """Choose a task for each column of a data set's attributes; see `infer_tasks`.

    The images of all splits determine the kind of each task. Its classes and its scale come from the training
    images only.

    Raises:
        UnknownNameError, DataError: as for `infer_tasks`; or the images have no attributes.
    """
    if not data.train.attributes:
        raise DataError(
            f"The images of {data.card.name!r} have no attributes, so there are no tasks to learn. Read a "
            "table with one column per task (tlkit.data.load_table, or --labels FILE.csv), or take the data "
            "set 'solar'."
        )
    columns = {
        name: np.concatenate([split.attributes[name] for split in data.splits.values()])
        for name in data.train.attributes
    }
    kinds = {name: task.kind for name, task in infer_tasks(columns, kinds).items()}
    return infer_tasks(data.train.attributes, kinds)


def encoded(data: Dataset, tasks: Mapping[str, Task]) -> dict[str, dict[str, np.ndarray]]:
    """Return the labels of each split, by task; classes that no training image has are treated as missing.

    Raises:
        DataError: a label does not fit its task.

    Warns:
        TlkitWarning: a class is omitted, or a task has no label in the validation or test split.
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
                    f"No {part} image has a label of {name!r}, so this task is not evaluated on the {part} "
                    "split. Label some of its images, or assign labelled images to it in a column 'split'.",
                    TlkitWarning,
                    stacklevel=2,
                )
    return labels


def _only_known(column: np.ndarray, name: str, task: Task, part: str) -> np.ndarray:
    known = set(task.class_names or ())
    parts = [set(parts_of(text)) if task.kind == "multi-label" else {text} for text in column.astype(str)]
    unknown = [set() if is_missing(text) else of - known for text, of in zip(column, parts, strict=True)]
    if any(unknown):
        names, count = sorted(set().union(*unknown)), sum(map(bool, unknown))
        warnings.warn(
            f"{count} {part} {'image has' if count == 1 else 'images have'} a {name!r} that no training "
            f"image has ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}): left out.",
            TlkitWarning,
            stacklevel=3,
        )
    return np.array(["" if new else text for text, new in zip(column, unknown, strict=True)])
