"""Learn from the network's own predictions on the target."""

from typing import Any

import keras
from keras import ops

from tlkit.errors import TlkitError
from tlkit.models import augmentation
from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain, keeping_statistics

EPSILON = 1e-6


def entropy(probabilities: Any) -> Any:
    """Return the entropy in nats of each prediction, `(n, classes)` to `(n,)`, from 0 to log(classes).

    >>> values = entropy(ops.convert_to_tensor([[0.5, 0.5], [1.0, 0.0]]))
    >>> ops.convert_to_numpy(values).round(2).tolist()
    [0.69, 0.0]
    """
    p = ops.convert_to_tensor(probabilities)
    return -ops.sum(p * ops.log(p + EPSILON), axis=-1)


def class_confusion(probabilities: Any, temperature: float = 2.5) -> Any:
    """Return how much the classes of a batch are confused with each other, 0 to 1.

    The class correlation `p' diag(w) p` of softened predictions, with sure examples weighted up, each row
    scaled to a sum of 1: one minus the mean of the diagonal.

    Jin et al. 2020, "Minimum Class Confusion for Versatile Domain Adaptation".

    Args:
        probabilities: `(n, classes)`.
        temperature: above 1 softens the predictions.
    """
    p = ops.softmax(ops.log(probabilities + EPSILON) / temperature)
    weights = 1.0 + ops.exp(-entropy(p))
    weights = ops.stop_gradient(weights / ops.mean(weights))
    correlation = ops.matmul(ops.transpose(p * weights[:, None]), p)
    correlation = correlation / ops.sum(correlation, axis=1, keepdims=True)
    return 1.0 - ops.mean(ops.diagonal(correlation))


class MinimumEntropy(Alignment):
    """Minimise the entropy of the target predictions, so that the boundary lies in sparse regions.

    Grandvalet & Bengio 2005, "Semi-supervised Learning by Entropy Minimization".
    """

    moves_features = False

    def __init__(self, weight: float = 0.1, rise: float | None = 10.0, **options: Any) -> None:
        super().__init__(weight, rise, **options)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * ops.mean(entropy(target.probabilities))


class MCC(Alignment):
    """Minimum class confusion on the target. See `class_confusion`."""

    moves_features = False

    def __init__(
        self, weight: float = 1.0, rise: float | None = 10.0, temperature: float = 2.5, **options: Any
    ) -> None:
        super().__init__(weight, rise, **options)
        self.temperature = temperature

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * class_confusion(target.probabilities, self.temperature)


class PseudoLabel(Alignment):
    """Self-training: a certain prediction becomes the label of an augmented view of the same input.

    Sohn et al. 2020, "FixMatch"; Lee 2013, "Pseudo-Label".

    Args:
        weight, rise: see `Alignment`.
        threshold: least probability of a pseudo-label, 0 to 1.
        change: the layer that makes the changed view: of images such as `tlkit.augmentation()`, of
            features such as `keras.layers.Dropout`; by default each of these for its kind of input.
    """

    moves_features = False

    def __init__(
        self,
        weight: float = 1.0,
        rise: float | None = 10.0,
        threshold: float = 0.95,
        change: keras.Layer | None = None,
        **options: Any,
    ) -> None:
        super().__init__(weight, rise, **options)
        self.threshold = threshold
        self.change: Any = change
        self.used = keras.metrics.Mean("pseudo_labelled")

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        self.network = keras.Sequential([encoder, last])
        shape = encoder.input_shape
        if self.change is None:
            pixels = len(shape) == 4
            # no mirror images: a digit or a letter would turn into something else
            self.change = augmentation(flip=False) if pixels else keras.layers.Dropout(0.3)
        elif len(shape) == 2:
            try:
                self.change(ops.zeros((2, *shape[1:])), training=True)
            except Exception as error:
                raise TlkitError(
                    f"The change {self.change.name!r} needs pixels, but this network takes features "
                    f"{shape[1:]}. Train end to end, or take a layer for vectors such as "
                    "keras.layers.Dropout(0.2)."
                ) from error

    def guesses(self, source: Domain, target: Domain) -> tuple[Any, Any]:
        """Return the probabilities `(n, classes)` that give the pseudo-labels, and their threshold."""
        return target.probabilities, self.threshold

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        sure, threshold = map(ops.stop_gradient, self.guesses(source, target))
        labels = ops.argmax(sure, axis=-1)
        chosen = ops.cast(ops.max(sure, axis=-1) >= threshold, "float32")
        self.used.update_state(chosen)
        views = self.change(ops.cast(target.inputs, "float32"), training=True)
        errors = ops.sparse_categorical_crossentropy(labels, keeping_statistics(self.network, views))
        return strength * ops.mean(chosen * errors)


class AdaMatch(PseudoLabel):
    """Self-training as by FixMatch, adapted to two domains.

    Before a prediction becomes a pseudo-label, it is multiplied by the ratio of the mean source prediction to
    the mean target prediction of the batch and normalised, so that the target predictions use the classes as
    often as those of the source (distribution alignment).
    The threshold is relative to the mean confidence on the source, since early in training, and on hard
    tasks, no prediction is certain. The paper's random interpolation of logits is left out.

    Roelofs et al. 2022, "AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation".

    Args:
        weight, rise, change: see `PseudoLabel`.
        threshold: least probability of a pseudo-label, relative to the mean confidence on the source, 0 to 1.
    """

    def __init__(
        self,
        weight: float = 1.0,
        rise: float | None = 10.0,
        threshold: float = 0.9,
        change: keras.Layer | None = None,
        **options: Any,
    ) -> None:
        super().__init__(weight, rise, threshold, change, **options)

    def guesses(self, source: Domain, target: Domain) -> tuple[Any, Any]:
        expected, found = (ops.mean(each.probabilities, axis=0) for each in (source, target))
        aligned = target.probabilities * expected / (found + EPSILON)
        aligned = aligned / ops.sum(aligned, axis=-1, keepdims=True)
        return aligned, self.threshold * ops.mean(ops.max(source.probabilities, axis=-1))
