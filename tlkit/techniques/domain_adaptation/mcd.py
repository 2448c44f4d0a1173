"""MCD: two classifiers must agree on the target.

Saito et al. 2018, "Maximum Classifier Discrepancy for Unsupervised Domain Adaptation".
"""

from typing import Any

import keras
from keras import ops

from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain
from tlkit.techniques.domain_adaptation.dann import reverse_gradient


class MCD(Alignment):
    """Maximum classifier discrepancy: two classifiers must agree on the target.

    The classifiers learn to disagree on the target while the features learn to make them agree. Both learn
    in one step, by a reversed gradient; the paper alternates three steps.
    """

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        self.first = last
        self.second = second_classifier(last)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        features = reverse_gradient(target.features, strength)
        disagreement = ops.mean(ops.abs(self.first(features) - self.second(features)))
        errors = ops.sparse_categorical_crossentropy(source.labels, self.second(source.features))
        return ops.mean(errors) - disagreement


def second_classifier(last: Any) -> keras.layers.Dense:
    """Return a last layer like `last` that gives probabilities, with random weights."""
    dense = getattr(last, "dense", last)
    changed = {"name": "second_classifier", "activation": "softmax"}
    layer = keras.layers.Dense.from_config(dense.get_config() | changed)
    layer.build((None, dense.kernel.shape[0]))
    return layer
