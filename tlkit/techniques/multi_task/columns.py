"""From the columns of a table to tasks, and to their labels."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tlkit.data import Split
from tlkit.data.labelled import check_finite, unpacked
from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.techniques.multi_task.tasks import Classification, MultiLabel, Regression, Task
from tlkit.techniques.multi_task.writing import is_missing, parts_of

KINDS = ("classification", "multi-label", "regression")
MOST_CLASSES = 0.5  # more different texts than this share of the images are no classes


def infer_tasks(columns: Mapping[str, np.ndarray], kinds: Mapping[str, str] | None = None) -> dict[str, Task]:
    """Choose a task for each column: numbers are regression, texts classes, texts with `|` several labels.

    Args:
        columns: values `(n,)` of the training images by name; "", "nan" and None are missing.
        kinds: `"classification"`, `"multi-label"` or `"regression"` by column, where the guess is wrong;
            numbers that name classes are the usual case.

    Raises:
        UnknownNameError: a kind or its column does not exist.
        DataError: a column has no value, mixes numbers and texts, is neither numeric nor categorical, or has
            one value only; the message names it.

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
        raise DataError("The table has no column of labels. Add one a task beside the file names.")
    return {name: _task(name, list(values), kinds.get(name)) for name, values in columns.items()}


def labels_for(split: Split, tasks: Mapping[str, Task]) -> dict[str, np.ndarray]:
    """Return the labels of the tasks from the split's attributes of the same names.

    Raises:
        UnknownNameError: the split has no such attribute, or a task has no such class.
        DataError: a label does not fit its task.
    """
    for name in tasks:
        if name not in split.attributes:
            raise UnknownNameError("attribute of the images", name, split.attributes)
    return {name: _encoded(name, task, split.attributes[name]) for name, task in tasks.items()}


def checked_labels(labels: Mapping[str, Any], tasks: Mapping[str, Task], n: int) -> dict[str, np.ndarray]:
    """Return the labels of `n` inputs as `fit` takes them.

    Raises:
        UnknownNameError: labels for a task that there is not.
        DataError: a task has no labels at all, or not one for each input, or they do not fit it.
    """
    encoded = _all_encoded(labels, tasks, n)
    for name, task in tasks.items():
        if not keras.ops.convert_to_numpy(task.known(encoded[name])).any():
            raise DataError(
                f"All labels of task {name!r} are missing. Give some, or build the network without it."
            )
    return encoded


def first_inputs(batches: Any, tasks: Mapping[str, Task], name: str) -> np.ndarray:
    """Return the inputs of the first batch, whose labels Keras can train these tasks on.

    Args:
        batches: what Keras takes that gives `(inputs, {task: labels})`.
        tasks: by name.
        name: what the caller calls these data, for errors.

    Raises:
        UnknownNameError: labels for a task that there is not.
        DataError: the batches have no end or no such labels, or these do not fit their tasks.
    """
    check_finite(batches, name)
    batch = batches[0] if isinstance(batches, keras.utils.PyDataset) else next(iter(batches), None)
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise DataError(f"{name} gives no batches with labels; expected (inputs, {{task: labels}}).")
    inputs, labels, _ = unpacked(batch)
    for task, values in labels.items() if isinstance(labels, Mapping) else ():
        if values.ndim == 0 or values.dtype.kind not in "iufb":
            raise DataError(
                f"Labels {values.dtype} of shape {values.shape} were given for task {task!r} in {name}; "
                "expected batches of numbers: data.batch(32), and task.encode(values) for texts."
            )
    _all_encoded(labels, tasks, len(inputs))
    return inputs


def _all_encoded(labels: Any, tasks: Mapping[str, Task], n: int) -> dict[str, np.ndarray]:
    if not isinstance(labels, Mapping):
        raise DataError(
            f"Labels of type {type(labels).__name__} were given; expected them by task: "
            f"{{{', '.join(f'{name!r}: ...' for name in tasks)}}}."
        )
    for name in labels:
        if name not in tasks:
            raise UnknownNameError("task", name, tasks)
    encoded = {}
    for name, task in tasks.items():
        if name not in labels:
            raise DataError(
                f"There are no labels for task {name!r}. Give them, missing ones as -1 (classes) or NaN."
            )
        encoded[name] = _encoded(name, task, labels[name])
        if len(encoded[name]) != n:
            raise DataError(
                f"Task {name!r} has {len(encoded[name])} labels for {n} inputs. Give one for each."
            )
    return encoded


def _encoded(name: str, task: Task, values: Any) -> np.ndarray:
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
        odd = texts[numeric.index(sum(numeric) < len(numeric) / 2)]
        raise DataError(
            f"Column {name!r} has {sum(numeric)} numbers and {len(numeric) - sum(numeric)} texts, such as "
            f"{odd!r}. Correct these, or say that they all name classes: --kind {name}=classification."
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
    return (float(text) if _is_number(text) else np.inf), text
