"""Learning without forgetting: new labels teach, and the model as it was before teaches too."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import TlkitError
from tlkit.models import cut_last
from tlkit.techniques.continual_learning.new_classes import copied
from tlkit.techniques.training import make_state, replica_share

TINY = 1e-30  # keeps a logarithm finite; its reciprocal is a float32 still


def distillation(teacher: Any, student: Any, temperature: float = 2.0) -> Any:
    """Return how far the student's answers are from the teacher's: KL divergence of softened probabilities.

    With p of the teacher and q of the student, both raised to 1/T and normalised:
    T^2 * mean over the examples of sum_i p_i log(p_i / q_i). The factor keeps the gradients' size when T
    changes. 0 where both are alike.

    Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network".

    Args:
        teacher, student: probabilities `(n, k)`, or a part of their columns: they are normalised here.
        temperature: T above 0; a large one heeds the small probabilities too.

    >>> p = ops.convert_to_tensor([[0.7, 0.2, 0.1]])
    >>> float(distillation(p, p)), bool(distillation(p, p[:, ::-1]) > 0.1)
    (0.0, True)
    """
    if temperature <= 0:
        raise TlkitError(f"temperature={temperature} was given; expected a number above 0, such as 2.")
    log_p, log_q = (
        ops.log_softmax(ops.log(ops.maximum(ops.cast(each, "float32"), TINY)) / temperature)
        for each in (teacher, student)
    )
    return temperature**2 * ops.mean(ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1))


class LearningWithoutForgetting(keras.Model):
    """Teach a classifier new classes while it goes on answering as its teacher did about the old ones.

    The loss on each batch of new examples is the compiled one plus `strength` times the `distillation` of the
    teacher's answers about the old classes; no old example is needed. The classifier learns in place and
    stays a plain Keras model: save it, not this.

    Li & Hoiem 2016, "Learning without Forgetting".

    Args:
        classifier: a model of `add_classes`, probabilities `(n, old + new)`; train its new outputs first,
            with the backbone frozen, as the paper does.
        teacher: the model before, probabilities `(n, old)`. A frozen copy is kept.
        strength: weight of the distillation.
        temperature: see `distillation`.
        separate: let the new classes compete among themselves alone, like the separate outputs of the paper.
            In one softmax over all, labels of new classes alone push every old output down. Set it to `False`
            for a training set that has old examples too, see `rehearse`.

    Raises:
        TlkitError: the two models do not fit, or give no probabilities; in `fit`: labels out of range.

    >>> from tlkit.models import build_classifier
    >>> from tlkit.techniques.continual_learning import add_classes
    >>> old = build_classifier("LeNet", classes=5, weights=None)
    >>> learner = LearningWithoutForgetting(add_classes(old, 5), teacher=old)
    >>> learner.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> images, labels = np.zeros((8, 28, 28, 3), "uint8"), np.full(8, 7)
    >>> sorted(learner.fit(images, labels, verbose=0).history)
    ['accuracy', 'distillation_loss', 'loss']
    """

    def __init__(
        self,
        classifier: keras.Model,
        teacher: keras.Model,
        *,
        strength: float = 1.0,
        temperature: float = 2.0,
        separate: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        _, last = cut_last(classifier)
        _, old = cut_last(teacher)
        advice = "Make the classifier of the teacher: add_classes(teacher, classes)."
        asked, told = classifier.input_shape[1:], teacher.input_shape[1:]
        if asked != told:
            raise TlkitError(f"The teacher takes inputs {told}, the classifier {asked}. {advice}")
        if old.units >= last.units:
            raise TlkitError(
                f"The teacher has {old.units} classes, the classifier {last.units}: none is new. {advice}"
            )
        self.classifier = classifier
        self.teacher = copied(teacher)
        self.teacher.trainable = False
        self.old, self.all = old.units, last.units
        self.strength, self.temperature, self.separate = strength, temperature, separate
        self.distillation_loss = keras.metrics.Mean("distillation_loss")
        self.built = True  # all variables exist

    @property
    def layers(self) -> list[keras.Layer]:
        """What learns, and what `tlkit.restart` starts anew: the teacher is no part of it."""
        return [self.classifier]

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.classifier(inputs, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        old, new = y_pred[:, : self.old], y_pred[:, self.old :]
        competing = y_pred
        if self.separate:
            new = new / ops.maximum(ops.sum(new, axis=-1, keepdims=True), TINY)
            competing = ops.concatenate([ops.zeros_like(old), new], axis=-1)
        taught = ops.stop_gradient(self.teacher(x, training=False))
        forgotten = distillation(taught, old, self.temperature)
        self.distillation_loss.update_state(forgotten)
        supervised = super().compute_loss(x, y, competing, sample_weight, training)
        return supervised + replica_share() * self.strength * forgotten

    def fit(self, x: Any = None, y: Any = None, **options: Any) -> keras.callbacks.History:
        """Train as Keras does; labels are numbered as the outputs are, the old classes first."""
        labels = getattr(x, "labels", None) if y is None else y
        first = self.old if self.separate else 0
        if isinstance(labels, np.ndarray) and labels.size:
            low, high = labels.min(), labels.max()
            if low < first or high >= self.all:
                advice = " To train on old examples too: separate=False." if 0 <= low < first else ""
                raise TlkitError(
                    f"Labels from {low} to {high} were given; expected {first} to {self.all - 1}, since 0 to "
                    f"{self.old - 1} are the old classes.{advice}"
                )
            make_state(self, labels, self.classifier.output_shape)
        return super().fit(x, y, **options)
