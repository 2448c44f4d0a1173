"""Co-tuning: fine-tune with the source head as well, on source classes inferred from the target labels."""

from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.linear_model import LogisticRegression

from tlkit.challenges.overfitting.calibration import temperature, tempered
from tlkit.challenges.overfitting.parts import learner_for, reassembled
from tlkit.errors import DataError, TlkitError
from tlkit.techniques.training import replica_fraction

TINY = 1e-12
STRENGTHS = np.logspace(4, -4, 9)  # C of the logistic regression; the first one wins a tie


def class_relationship(probabilities: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return p(source class | target class), the mean source probabilities of each target class.

    You et al. 2020, "Co-Tuning for Transfer Learning", the direct approach.

    Args:
        probabilities: `(n, source classes)`, predictions of the source head for the training images, rows
            that sum to 1. They should be calibrated: for an overconfident head, pass
            `tempered(probabilities, T)` with the T of the head's own validation images.
        labels: int `(n,)` target classes.
        classes: number of target classes.

    Returns:
        float32 `(classes, source classes)`, rows that sum to 1.

    Raises:
        DataError: shapes or values are invalid, or a class has no example.

    >>> class_relationship(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0, 0]), classes=1).tolist()
    [[0.75, 0.25]]
    """
    probabilities = _checked(probabilities, labels, classes)
    rows = [probabilities[labels == each].mean(axis=0) for each in range(classes)]
    return np.array(rows, "float32")


def class_relationship_by_bayes(
    probabilities: np.ndarray,
    labels: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    classes: int,
) -> np.ndarray:
    """Return p(source class | target class) from p(target class | source class) by Bayes' rule.

    This is the main approach of the paper. A logistic regression maps source probabilities to target classes;
    validation data select its regularisation and its temperature. Its predictions for one-hot source
    probabilities are p(t | s), and `p(s | t) = p(t | s) p(s) / sum_s p(t | s) p(s)`. The approach is better
    than `class_relationship` only if there are enough examples.

    You et al. 2020, "Co-Tuning for Transfer Learning".

    Args:
        probabilities, labels, classes: as for `class_relationship`.
        validation: probabilities and labels of the validation images.

    Returns:
        float32 `(classes, source classes)`, rows that sum to 1.

    Raises:
        DataError: shapes or values are invalid, or a class has no example.

    >>> p, labels = np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])
    >>> class_relationship_by_bayes(p, labels, (p, labels), 2).round(1).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    probabilities = _checked(probabilities, labels, classes)
    held_out = _checked(*validation, classes)
    fits = [LogisticRegression(C=c, fit_intercept=False, max_iter=1000) for c in STRENGTHS]
    fits = [each.fit(probabilities, labels) for each in fits]
    best = max(fits, key=lambda each: each.score(held_out, validation[1]))
    scale = temperature(best.predict_proba(held_out), validation[1])
    pure = tempered(best.predict_proba(np.eye(probabilities.shape[1])), scale)
    joint = pure.T * np.concatenate([probabilities, held_out]).mean(axis=0)
    return (joint / np.maximum(joint.sum(axis=1, keepdims=True), TINY)).astype("float32")


def co_tuning_loss(relationship: Any, probabilities: Any) -> Any:
    """Return the cross-entropy loss of the source head: `-mean_i sum_s p(s | t_i) log q_i(s)`.

    Args:
        relationship: p(s | t_i), the target distribution of each example, `(n, source classes)`.
        probabilities: q, the predictions of the source head, `(n, source classes)`.

    >>> p, q = ops.convert_to_tensor([[1.0, 0.0]]), ops.convert_to_tensor([[0.5, 0.5]])
    >>> round(float(co_tuning_loss(p, q)), 3)
    0.693
    """
    logs = ops.log(ops.maximum(ops.cast(probabilities, "float32"), TINY))
    return -ops.mean(ops.sum(relationship * logs, axis=-1))


class CoTuning(keras.Model):
    """A learner that fine-tunes a classifier together with the source head of its pretrained backbone.

    The training loss is the compiled loss plus `strength` times `co_tuning_loss`. The source head is trained
    as well. The learner shares its layers with the classifier, so training the learner trains the classifier.
    Save the classifier.

    You et al. 2020, "Co-Tuning for Transfer Learning", with a strength of 2.3 in the authors' code.

    Args:
        classifier: a model made by `build_classifier` or `attach_head`.
        source_head: model from features `(n, d)` to probabilities of the source classes.
        relationship: p(source class | target class), `(classes, source classes)`; see `class_relationship`.
        strength: weight of the source head's loss, at least 0.

    Raises:
        TlkitError: the shape of the relationship does not match the two heads, or `strength` is below 0.

    >>> from tlkit.models import build_classifier
    >>> source = keras.Sequential([keras.Input((100,)), keras.layers.Dense(5, activation="softmax")])
    >>> model = build_classifier("LeNet", classes=2, weights=None)
    >>> learner = CoTuning(model, source, np.full((2, 5), 0.2))
    >>> learner.compile("adam", loss="sparse_categorical_crossentropy")
    >>> history = learner.fit(np.zeros((4, 28, 28, 3), "uint8"), np.array([0, 1, 0, 1]), verbose=0)
    """

    def __init__(
        self,
        classifier: keras.Model,
        source_head: keras.Model,
        relationship: np.ndarray,
        strength: float = 1.0,
    ) -> None:
        expected = (classifier.output_shape[-1], source_head.output_shape[-1])
        if np.shape(relationship) != expected:
            raise TlkitError(
                f"A relationship of shape {np.shape(relationship)} was given; expected {expected}, one row "
                "per class of the classifier and one column per class of the source head: "
                "class_relationship(...)."
            )
        if strength < 0:
            raise TlkitError(f"strength={strength} was given; expected a number of at least 0, such as 1.0.")
        branch = SourceHeadBranch(source_head, name="source_classes")
        inputs, outputs = reassembled(classifier, features=branch)
        super().__init__(inputs=inputs, outputs=outputs, name=classifier.name)
        learner_for(classifier, self)
        self.branch, self.strength = branch, strength
        self.relationship = np.asarray(relationship, "float32")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        table = ops.convert_to_tensor(self.relationship)
        if len(y.shape) == 2 and y.shape[-1] == len(self.relationship) > 1:
            rows = ops.matmul(ops.cast(y, "float32"), table)  # mixed or smoothed labels
        else:
            rows = ops.take(table, ops.reshape(ops.cast(y, "int32"), (-1,)), axis=0)
        return loss + replica_fraction() * self.strength * co_tuning_loss(rows, self.branch.pop())


class SourceHeadBranch(keras.Layer):
    """Return the features unchanged, and store the source head's predictions for the loss.

    `add_loss` cannot compute this loss, because a layer does not have the labels.
    """

    def __init__(self, head: keras.Model, **options: Any) -> None:
        super().__init__(**options)
        self.head = head
        self.predictions: Any = None

    def call(self, features: Any, training: bool = False) -> Any:
        if training:
            self.predictions = self.head(features, training=True)
        return features

    def pop(self) -> Any:
        """Return the last predictions and delete them, because they belong to the graph of one step."""
        predictions, self.predictions = self.predictions, None
        return predictions

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def _checked(probabilities: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    probabilities, labels = np.asarray(probabilities, "float64"), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise DataError(
            f"Probabilities of shape {probabilities.shape} and labels of shape {labels.shape} were given; "
            "expected (n, source classes) and (n,): source_head.predict(extract(backbone, split))."
        )
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-2) or probabilities.min() < 0:
        raise DataError(
            "The source head's predictions are negative or do not sum to 1; expected probabilities. End the "
            "head with a softmax."
        )
    if empty := sorted(set(range(classes)) - set(labels.tolist())):
        raise DataError(
            f"Class {empty[0]} of {classes} has no example, so its source classes cannot be estimated. Add "
            "at least one example per class, or leave the class out: Dataset.only(names)."
        )
    return probabilities
