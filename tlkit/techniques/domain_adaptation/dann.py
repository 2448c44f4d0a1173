"""DANN: learn features whose domain a discriminator cannot tell.

Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks".
"""

from typing import Any

import keras
from keras import ops

from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain


def reverse_gradient(x: Any, strength: Any = 1.0) -> Any:
    """Return `x` itself, with a gradient that is `-strength` times the one that arrives.

    Layers above this operation minimise the loss; layers below it maximise the same loss.

    >>> float(reverse_gradient(3.0, 0.5))
    3.0
    """
    return -strength * x + ops.stop_gradient((1.0 + strength) * x)


class Adversary(Alignment):
    """Base of the methods with a domain discriminator of one hidden layer.

    It logs `discriminator_accuracy`, the fraction of examples whose domain the discriminator recognises: at
    0.5 it is at chance, near 1 it separates the domains.

    Args:
        weight, rise: see `Alignment`; the strength is that of the reversed gradient.
        hidden: width of the discriminator's hidden layer.
    """

    def __init__(self, weight: float = 0.1, rise: float | None = 10.0, hidden: int = 100, **options: Any):
        super().__init__(weight, rise, **options)
        self.hidden = hidden
        self.accuracy = keras.metrics.Mean("discriminator_accuracy")

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        width = self.width(encoder.output_shape[-1], last.units)
        self.discriminator = build_discriminator(width, self.hidden)

    def width(self, features: int, classes: int) -> int:
        """Return the number of values that the discriminator takes."""
        return features

    def discriminate(self, source: Any, target: Any, weights: tuple[Any, Any] | None = None) -> Any:
        """Return the binary cross-entropy of the discriminator.

        Args:
            source, target: what it takes of each domain, `(n, width)`; each domain counts half.
            weights: of the examples of each domain, `(n,)` with mean 1.
        """
        logits, n = self.discriminator(ops.concatenate([source, target]))[:, 0], ops.shape(source)[0]
        of_source, of_target = logits[:n], logits[n:]
        right = ops.mean(ops.cast(of_source > 0, "float32")) + ops.mean(ops.cast(of_target <= 0, "float32"))
        self.accuracy.update_state(right / 2)
        errors = ops.softplus(-of_source), ops.softplus(of_target)
        if weights is not None:
            errors = errors[0] * weights[0], errors[1] * weights[1]
        return (ops.mean(errors[0]) + ops.mean(errors[1])) / 2


class DANN(Adversary):
    """Domain-adversarial network: features that a domain discriminator cannot tell apart.

    The gradient that the features receive from the discriminator is reversed.
    """

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        reversed_features = [reverse_gradient(domain.features, strength) for domain in (source, target)]
        return self.discriminate(*reversed_features)


def build_discriminator(inputs: int, hidden: int) -> keras.Model:
    """Build a perceptron with one hidden layer of ReLU and one logit, in float32 under mixed precision, too.

    It normalises each row first; otherwise features could fool it by growing without bound.
    """
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            layers.LayerNormalization(dtype="float32"),
            layers.Dense(hidden, activation="relu", dtype="float32"),
            layers.Dense(1, dtype="float32"),
        ]
    )
