"""The kinds of tasks: classification, multi-label classification and regression."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.techniques.learners import Configured
from tlkit.techniques.multi_task.writing import is_missing, parts_of
from tlkit.techniques.training import replica_fraction


class Task(Configured):
    """Base class of tasks. A task defines the head, the loss, the measure and the format of the labels.

    So that Keras can save it, a task stores each constructor argument as an attribute of the same name.

    Attributes:
        kind: name of the kind of task, in tables and reports.
        outputs: width of the head.
        measure: name of the measure that `score` computes.
        higher_is_better: whether a higher measure is better.
        likelihood: factor of the loss in the Gaussian or Boltzmann likelihood of Kendall et al. 2018.
        class_names: names of the outputs, if they are classes or labels.
    """

    kind: str
    outputs: int
    measure: str
    higher_is_better = True
    likelihood = 1.0
    class_names: list[str] | None = None

    def head(self, name: str) -> keras.Layer:
        """Return the layer from features `(n, d)` to predictions, float32 `(n, outputs)`."""
        raise NotImplementedError

    def encode(self, values: Any) -> np.ndarray:
        """Convert labels, such as texts of a table, to the arrays that `fit` takes.

        Raises:
            DataError: a label does not fit the task.
        """
        raise NotImplementedError

    def from_logits(self, logits: Any) -> Any:
        """Convert the outputs of a head without activation to predictions, such as probabilities."""
        return logits

    def known(self, labels: Any) -> Any:
        """Return 1 where there is a label and 0 where it is missing: float32, with the shape of `errors`."""
        return ops.cast(ops.logical_not(ops.isnan(_columns(labels))), "float32")

    def filled(self, labels: Any) -> Any:
        """Return the labels, with 0 in place of missing labels."""
        labels = _columns(labels)
        return ops.where(ops.isnan(labels), ops.zeros_like(labels), labels)

    def errors(self, labels: Any, predictions: Any) -> Any:
        """Return the loss of each label, `(n,)` or `(n, outputs)`."""
        raise NotImplementedError

    def score(self, labels: Any, predictions: Any) -> Any:
        """Return the measure of each label, with the shape of `errors`."""
        raise NotImplementedError

    def constant(self, train: np.ndarray) -> np.ndarray:
        """Return the prediction, float32 `(outputs,)`, that is best if it is the same for all of `train`."""
        raise NotImplementedError

    def baseline(self, train: np.ndarray, test: np.ndarray) -> float:
        """Return the measure on `test` of the constant prediction that is best on `train`."""
        known = ops.convert_to_numpy(self.known(test)) > 0
        predictions = np.broadcast_to(self.constant(train), (len(test), self.outputs))
        return float(ops.convert_to_numpy(self.score(self.filled(test), predictions))[known].mean())

    def loss(self, labels: Any, predictions: Any, sample_weight: Any = None) -> Any:
        """Return the mean loss over all labels that are not missing; 0, without a gradient, if all are."""
        weights = self.weights(labels, sample_weight)
        errors = self.errors(self.filled(labels), ops.cast(predictions, "float32"))
        return replica_fraction() * ops.divide_no_nan(ops.sum(weights * errors), ops.sum(weights))

    def weights(self, labels: Any, sample_weight: Any = None) -> Any:
        """Return the weight of each label: 0 if it is missing, else the sample weight or 1."""
        known = self.known(labels)
        if sample_weight is None:
            return known
        weight = ops.cast(sample_weight, "float32")
        return known * (weight if len(known.shape) == 1 else ops.expand_dims(weight, -1))


@keras.saving.register_keras_serializable("tlkit")
class Classification(Task):
    """Predict one of several classes: softmax, cross-entropy, and accuracy as the measure.

    Labels are int `(n,)`, and -1 if missing. `encode` also accepts names of classes.

    Args:
        classes: the names of the classes, or their number; at least 2.

    Raises:
        TlkitError: there are fewer than 2 classes, or two have the same name.

    >>> Classification(["cat", "dog"]).encode(["dog", "", "cat"]).tolist()
    [1, -1, 0]
    """

    kind = "classification"
    measure = "accuracy"

    def __init__(self, classes: int | Sequence[str]) -> None:
        names = [str(i) for i in range(classes)] if isinstance(classes, int) else list(classes)
        if len(names) < 2 or len(set(names)) < len(names):
            raise TlkitError(f"classes={classes!r} was given; expected 2 or more different classes.")
        self.classes = self.class_names = names
        self.outputs = len(names)

    def head(self, name: str) -> keras.Layer:
        return keras.layers.Dense(self.outputs, activation="softmax", dtype="float32", name=name)

    def from_logits(self, logits: Any) -> Any:
        return ops.softmax(logits)

    def encode(self, values: Any) -> np.ndarray:
        values = np.asarray(values)
        names = self.class_names or []
        if values.dtype.kind in "OUS":
            index = {name: i for i, name in enumerate(names)}
            texts = ["" if is_missing(each) else str(each) for each in values]
            if unknown := sorted(set(texts) - set(index) - {""}):
                raise UnknownNameError("class", unknown[0], names)
            return np.array([index.get(text, -1) for text in texts], "int32")
        numbers = np.where(np.isnan(values), -1, values) if values.dtype.kind == "f" else values
        wrong = (numbers != np.round(numbers)) | (numbers < -1) | (numbers >= self.outputs)
        if numbers.shape != (len(values),) or wrong.any():
            problem = f"shape {numbers.shape}" if numbers.ndim != 1 else f"the value {numbers[wrong][0]}"
            raise DataError(
                f"Labels with {problem} were given; expected (n,) integers from 0 to {self.outputs - 1}, and "
                "-1 for missing labels."
            )
        return numbers.astype("int32")

    def known(self, labels: Any) -> Any:
        return ops.cast(ops.cast(labels, "int32") >= 0, "float32")

    def filled(self, labels: Any) -> Any:
        return ops.maximum(ops.cast(labels, "int32"), 0)

    def errors(self, labels: Any, predictions: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(labels, predictions)

    def score(self, labels: Any, predictions: Any) -> Any:
        return ops.cast(ops.equal(ops.cast(ops.argmax(predictions, axis=-1), "int32"), labels), "float32")

    def constant(self, train: np.ndarray) -> np.ndarray:
        return np.eye(self.outputs, dtype="float32")[np.bincount(train[train >= 0]).argmax()]


@keras.saving.register_keras_serializable("tlkit")
class MultiLabel(Task):
    """Predict any number of labels: a sigmoid and binary cross-entropy for each, and mean accuracy.

    Labels are float `(n, labels)` of 0 and 1, and NaN if missing. `encode` also accepts texts: the labels of
    an image separated by `|`, "-" for no label, or "" if they are missing.

    Args:
        labels: the names of the labels, or their number; at least 1.

    Raises:
        TlkitError: there is no label, or two have the same name.

    >>> MultiLabel(["red", "round"]).encode(["round|red", "-", ""]).tolist()
    [[1.0, 1.0], [0.0, 0.0], [nan, nan]]
    """

    kind = "multi-label"
    measure = "accuracy"

    def __init__(self, labels: int | Sequence[str]) -> None:
        names = [str(i) for i in range(labels)] if isinstance(labels, int) else list(labels)
        if not names or len(set(names)) < len(names):
            raise TlkitError(f"labels={labels!r} was given; expected 1 or more different labels.")
        self.labels = self.class_names = names
        self.outputs = len(names)

    def head(self, name: str) -> keras.Layer:
        return keras.layers.Dense(self.outputs, activation="sigmoid", dtype="float32", name=name)

    def from_logits(self, logits: Any) -> Any:
        return ops.sigmoid(logits)

    def encode(self, values: Any) -> np.ndarray:
        values = np.asarray(values)
        if values.dtype.kind in "OUS" and values.ndim == 1:
            names = self.class_names or []
            rows = np.zeros((len(values), self.outputs), "float32")
            for row, value in zip(rows, values, strict=True):
                if is_missing(value):
                    row[:] = np.nan
                    continue
                for label in parts_of(str(value)):
                    if label not in names:
                        raise UnknownNameError("label", label, names)
                    row[names.index(label)] = 1
            return rows
        return _numbers(values, self.outputs, "of 0 and 1", lambda each: np.isin(each, (0, 1)))

    def errors(self, labels: Any, predictions: Any) -> Any:
        return keras.losses.binary_crossentropy(ops.expand_dims(labels, -1), ops.expand_dims(predictions, -1))

    def score(self, labels: Any, predictions: Any) -> Any:
        return ops.cast(ops.equal(predictions > 0.5, labels > 0.5), "float32")

    def constant(self, train: np.ndarray) -> np.ndarray:
        return (np.nansum(train - 0.5, axis=0) > 0).astype("float32")


@keras.saving.register_keras_serializable("tlkit")
class Regression(Task):
    """Predict one or several numbers: mean squared error, and mean absolute error as the measure.

    The loss is in units of the standard deviation of the labels, so the weight of the task does not depend on
    the scale of its labels. Predictions and the measure have the units of the labels. Labels are float
    `(n,)` or `(n, outputs)`, and NaN if missing.

    Args:
        outputs: number of values per example.
        mean, deviation: mean and standard deviation of the training labels; see `of`.

    Raises:
        TlkitError: there are no outputs, or the deviation is infinite or not above 0.

    >>> task = Regression.of([10.0, 20.0, np.nan])
    >>> task.mean, task.deviation
    (15.0, 5.0)
    """

    kind = "regression"
    measure = "error"
    higher_is_better = False
    likelihood = 0.5

    def __init__(self, outputs: int = 1, *, mean: float = 0.0, deviation: float = 1.0) -> None:
        if outputs < 1 or not 0 < deviation < np.inf:
            raise TlkitError(
                f"Regression(outputs={outputs}, deviation={deviation}) was given; expected at least one "
                "output and a finite deviation above 0: labels that are all the same need no network."
            )
        self.outputs, self.mean, self.deviation = outputs, float(mean), float(deviation)

    @classmethod
    def of(cls, values: Any) -> "Regression":
        """Return a task with the width, the mean and the standard deviation of these training labels.

        Raises:
            DataError: all labels are missing.
            TlkitError: all labels are equal.
        """
        values = np.asarray(values, float)
        if np.isnan(values).all():
            raise DataError("All labels are missing. Add some, or omit the task.")
        outputs = values.shape[1] if values.ndim > 1 else 1
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite deviation is refused
            return cls(outputs, mean=float(np.nanmean(values)), deviation=float(np.nanstd(values)))

    def head(self, name: str) -> keras.Layer:
        return keras.Sequential(
            [
                keras.layers.Dense(self.outputs, dtype="float32", name="standardised"),
                keras.layers.Rescaling(self.deviation, self.mean, dtype="float32", name="in_units"),
            ],
            name=name,
        )

    def encode(self, values: Any) -> np.ndarray:
        values = np.asarray(values)
        if values.dtype.kind in "OUS":
            values = np.array([np.nan if is_missing(each) else float(each) for each in values.ravel()])
        return _numbers(
            values if values.ndim > 1 else values[:, None], self.outputs, "finite numbers", np.isfinite
        )

    def errors(self, labels: Any, predictions: Any) -> Any:
        return ops.square((labels - predictions) / self.deviation)

    def score(self, labels: Any, predictions: Any) -> Any:
        return ops.abs(labels - predictions)

    def constant(self, train: np.ndarray) -> np.ndarray:
        return np.nanmedian(train, axis=0).astype("float32")  # a mean has the least squared error


def _columns(labels: Any) -> Any:
    """Return labels as float32 `(n, outputs)`; labels `(n,)` have one output."""
    labels = ops.cast(labels, "float32")
    return labels if len(labels.shape) > 1 else ops.expand_dims(labels, -1)


def _numbers(values: np.ndarray, outputs: int, what: str, valid: Callable[[Any], Any]) -> np.ndarray:
    expected = f"expected (n, {outputs}) {what}, and NaN for missing labels"
    if values.dtype.kind not in "iufb" or values.ndim != 2 or values.shape[1] != outputs:
        raise DataError(f"Labels of type {values.dtype} and shape {values.shape} were given; {expected}.")
    values = values.astype("float32")
    wrong = ~(valid(values) | np.isnan(values))
    if wrong.any():
        raise DataError(f"The label {values[wrong][0]:g} was given; {expected}.")
    return values
