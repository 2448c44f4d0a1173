"""Infer tasks from the columns of a table, and encode the columns as labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlkit.data import Split
from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.techniques.multi_task.tasks import Classification, MultiLabel, Regression, Task
from tlkit.techniques.multi_task.writing import is_missing, parts_of

KINDS = ("classification", "multi-label", "regression")
MOST_CLASSES = 0.5  # maximum number of classes, as a fraction of the number of images


def infer_tasks(columns: Mapping[str, np.ndarray], kinds: Mapping[str, str] | None = None) -> dict[str, Task]:
    """Choose a task for each column of a table of labels.

    A column of numbers becomes a regression. A column of texts becomes a classification, or a multi-label
    task if some texts contain `|`.

    Args:
        columns: values `(n,)` of the training images, by the name of the column; "", "nan" and None are
            missing labels.
        kinds: `"classification"`, `"multi-label"` or `"regression"`, by the name of the column, where this
            rule is wrong. It usually is if numbers are names of classes.

    Returns:
        The tasks by the names of the columns.

    Raises:
        UnknownNameError: there is no such kind or column.
        DataError: a column has no value, mixes numbers and texts, is neither numeric nor categorical, or has
            only one value; the message names the column.

    >>> tasks = infer_tasks({"animal": np.array(["cat", "dog", "cat", "dog"]), "age": np.array([1, 2, 3, 4])})
    >>> [type(task).__name__ for task in tasks.values()]
    ['Classification', 'Regression']
    """
    kinds = dict(kinds or {})
    for name, kind in kinds.items():
        if name not in columns:
            raise UnknownNameError("column", name, columns)
        if kind not in KINDS:
            raise UnknownNameError("kind of task", kind, KINDS)
    if not columns:
        raise DataError("The table has no column of labels. Add one column per task to the file names.")
    return {name: _task(name, list(values), kinds.get(name)) for name, values in columns.items()}


def labels_for(split: Split, tasks: Mapping[str, Task]) -> dict[str, np.ndarray]:
    """Encode the attributes of a split as labels of the tasks with the same names.

    Raises:
        UnknownNameError: the split has no attribute with the name of a task.
        DataError: a label does not fit its task.
    """
    for name in tasks:
        if name not in split.attributes:
            raise UnknownNameError("attribute of the images", name, split.attributes)
    return {name: encode_labels(name, task, split.attributes[name]) for name, task in tasks.items()}


def encode_labels(name: str, task: Task, values: Any) -> np.ndarray:
    """Return the encoded labels of a task; errors name the task.

    Raises:
        DataError: a label does not fit the task.
    """
    try:
        return task.encode(values)
    except (DataError, UnknownNameError, ValueError) as error:
        raise DataError(f"Task {name!r}: {error}") from error


def _task(name: str, values: list[Any], kind: str | None) -> Task:
    texts = [str(each).strip() for each in values if not is_missing(each)]
    if not texts:
        raise DataError(
            f"All labels of {name!r} are missing. Fill some in, or remove the column from the table."
        )
    kind = kind or _kind(name, texts)
    try:
        if kind == "regression":
            if unlike := [text for text in texts if not _is_number(text)]:
                raise DataError(
                    f"{unlike[0]!r} is not a finite number. Correct it, leave the cell empty if the label is "
                    f"missing, or treat all values as classes: --kind {name}=classification."
                )
            return Regression.of([np.nan if is_missing(each) else float(each) for each in values])
        if kind == "multi-label":
            return MultiLabel(sorted({part for text in texts for part in parts_of(text)}))
        return Classification(sorted(set(texts), key=_natural))
    except (TlkitError, ValueError) as error:
        raise DataError(f"Column {name!r} as {kind}: {error}") from error


def _kind(name: str, texts: list[str]) -> str:
    numeric = [_is_number(text) for text in texts]
    if all(numeric):
        return "regression"
    if any("|" in text for text in texts):
        return "multi-label"
    if any(numeric):
        example = texts[numeric.index(sum(numeric) < len(numeric) / 2)]  # of the minority
        raise DataError(
            f"Column {name!r} has {sum(numeric)} numbers and {len(numeric) - sum(numeric)} texts, such as "
            f"{example!r}. Correct them, or treat all values as classes: --kind {name}=classification."
        )
    classes = len(set(texts))
    if classes > max(2, MOST_CLASSES * len(texts)):
        raise DataError(
            f"Column {name!r} is neither numeric nor categorical: {classes} different texts on {len(texts)} "
            f"images, such as {texts[0]!r}. Remove it, or group the texts into classes."
        )
    return "classification"


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _natural(text: str) -> tuple[float, str]:
    """Return a sort key that orders numbers by their value, before all other texts."""
    return (float(text) if _is_number(text) else np.inf), text
