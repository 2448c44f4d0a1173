"""Pseudo-labels: a certain prediction becomes the label of an augmented view of the same input.

Lee 2013, "Pseudo-Label"; Sohn et al. 2020, "FixMatch: Simplifying Semi-Supervised Learning with Consistency
and Confidence".
"""

from typing import Any

import keras
from keras import ops

from tlkit.errors import TlkitError
from tlkit.models import augmentation
from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain, keeping_statistics


class PseudoLabel(Alignment):
    """Self-training: a certain prediction becomes the label of an augmented view of the same input.

    It logs `pseudo_labelled`, the fraction of target examples that had a label.

    Args:
        weight, rise: see `Alignment`.
        threshold: least probability of a pseudo-label, 0 to 1.
        change: the layer that makes the changed view: of images such as `tlkit.augmentation()`, of
            features such as `keras.layers.Dropout`; by default each of these for its kind of input.

    Raises:
        TlkitError: `change` needs pixels, and the network takes features.
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

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        probabilities, threshold = map(ops.stop_gradient, self.guesses(source, target))
        labels = ops.argmax(probabilities, axis=-1)
        certain = ops.cast(ops.max(probabilities, axis=-1) >= threshold, "float32")
        self.used.update_state(certain)
        views = self.change(ops.cast(target.inputs, "float32"), training=True)
        errors = ops.sparse_categorical_crossentropy(labels, keeping_statistics(self.network, views))
        return strength * ops.mean(certain * errors)

    def guesses(self, source: Domain, target: Domain) -> tuple[Any, Any]:
        """Return the probabilities `(n, classes)` that give the pseudo-labels, and their threshold."""
        return target.probabilities, self.threshold

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        self.network = keras.Sequential([encoder, last])
        shape = encoder.input_shape
        if self.change is None:
            # No mirror images: a digit or a letter would turn into something else.
            self.change = augmentation(flip=False) if len(shape) == 4 else keras.layers.Dropout(0.3)
        elif len(shape) == 2:
            try:
                self.change(ops.zeros((2, *shape[1:])), training=True)
            except Exception as error:
                raise TlkitError(
                    f"The change {self.change.name!r} needs pixels, but this network takes features "
                    f"{shape[1:]}. Train end to end, or take a layer for vectors such as "
                    "keras.layers.Dropout(0.2)."
                ) from error
