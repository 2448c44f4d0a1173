"""Align the domains against a discriminator that tries to tell them apart."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.techniques.domain_adaptation.alignment import ENCODER, Alignment, Domain
from tlkit.techniques.domain_adaptation.pairs import Pairs

EPSILON = 1e-6
LARGEST_MAP = 4096  # of CDAN; beyond it random features stand for the outer product, as in the paper


def reverse_gradient(x: Any, strength: Any = 1.0) -> Any:
    """Return `x` itself, with a gradient that is `-strength` times the one that arrives.

    Layers above this operation minimise the loss; layers below it maximise the same loss. Ganin et al. 2016,
    "Domain-Adversarial Training of Neural Networks".

    >>> float(reverse_gradient(3.0, 0.5))
    3.0
    """
    return -strength * x + ops.stop_gradient((1.0 + strength) * x)


class Adversary(Alignment):
    """Base of the methods with a domain discriminator of one hidden layer.

    It logs `discriminator_accuracy`, the fraction of examples whose domain it recognises: at 0.5 it is at
    chance, near 1 it separates the domains.

    Args:
        weight, rise: see `Alignment`; the strength is that of the reversed gradient.
        hidden: width of the discriminator's hidden layer.
    """

    def __init__(self, weight: float = 0.1, rise: float | None = 10.0, hidden: int = 100, **options: Any):
        super().__init__(weight, rise, **options)
        self.hidden = hidden
        self.accuracy = keras.metrics.Mean("discriminator_accuracy")

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        self.discriminator = build_discriminator(
            self.width(encoder.output_shape[-1], last.units), self.hidden
        )

    def width(self, features: int, classes: int) -> int:
        """Return the number of values that the discriminator takes."""
        return features

    def discriminate(self, source: Any, target: Any, weights: tuple[Any, Any] | None = None) -> Any:
        """Return the binary cross-entropy of the discriminator.

        Args:
            source, target: what it takes of each domain, `(n, width)`; each domain counts half.
            weights: of the examples of each domain, `(n,)` with mean 1.
        """
        answers, n = self.discriminator(ops.concatenate([source, target]))[:, 0], ops.shape(source)[0]
        real, fake = answers[:n], answers[n:]
        found = ops.mean(ops.cast(real > 0, "float32")) + ops.mean(ops.cast(fake <= 0, "float32"))
        self.accuracy.update_state(found / 2)
        errors = ops.softplus(-real), ops.softplus(fake)
        if weights is not None:
            errors = errors[0] * weights[0], errors[1] * weights[1]
        return (ops.mean(errors[0]) + ops.mean(errors[1])) / 2


class DANN(Adversary):
    """Domain-adversarial network: features that a domain discriminator cannot tell apart.

    The gradient that the features receive from the discriminator is reversed.

    Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks".
    """

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return self.discriminate(*(reverse_gradient(each.features, strength) for each in (source, target)))


class PADA(DANN):
    """Partial adversarial domain adaptation: DANN for a target that may lack classes of the source.

    Source examples of a class weigh less if the class is rarely predicted on the target, in the supervised
    loss and in that of the discriminator. The weight of a class is its mean predicted probability on the
    target, divided by the largest such mean, so it is 0 to 1. The weights are computed before each epoch; in
    the first one, the predictions are those of an untrained head. Where many predictions are wrong, so are
    the weights.

    Cao et al. 2018, "Partial Adversarial Domain Adaptation".

    Args:
        weight, rise, hidden: see `Adversary`.
    """

    watches_target = True

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        super().prepare(encoder, last)
        self.class_weights = self.add_weight(
            shape=(last.units,), initializer="ones", trainable=False, name="class_weights"
        )

    def update(self, features: np.ndarray, probabilities: np.ndarray) -> None:
        frequencies = probabilities.mean(axis=0)
        self.class_weights.assign(frequencies / frequencies.max())

    def example_weights(self, labels: Any) -> Any:
        return ops.take(self.class_weights, ops.cast(labels, "int32"))

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        weights = self.example_weights(source.labels)
        known = weights / (ops.mean(weights) + EPSILON)
        one, other = (reverse_gradient(each.features, strength) for each in (source, target))
        return self.discriminate(one, other, (known, ops.ones(ops.shape(other)[0])))


class CDAN(Adversary):
    """Conditional adversarial network: the discriminator sees features times class probabilities.

    Long et al. 2018, "Conditional Adversarial Domain Adaptation".

    Args:
        weight, rise, hidden: see `Adversary`.
        entropy: weight each example by the certainty of its prediction (CDAN+E).
    """

    def __init__(self, weight: float = 0.3, *args: Any, entropy: bool = False, **options: Any) -> None:
        super().__init__(weight, *args, **options)
        self.entropy = entropy

    def width(self, features: int, classes: int) -> int:
        if features * classes <= LARGEST_MAP:
            return features * classes
        for name, size in (("from_features", features), ("from_probabilities", classes)):
            matrix = self.add_weight(
                shape=(size, LARGEST_MAP), initializer="random_normal", trainable=False, name=name
            )
            matrix.assign(matrix / ops.std(matrix))
            setattr(self, name, matrix)
        return LARGEST_MAP

    def conditioned(self, domain: Domain) -> Any:
        """Return the input of the discriminator: `multilinear_map`, or random features in its place."""
        probabilities = ops.stop_gradient(domain.probabilities)
        if not hasattr(self, "from_features"):
            return multilinear_map(domain.features, probabilities)
        product = ops.matmul(domain.features, self.from_features) * ops.matmul(
            probabilities, self.from_probabilities
        )
        return product / LARGEST_MAP**0.5

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        weights = (certainty(source), certainty(target)) if self.entropy else None
        one, other = (reverse_gradient(self.conditioned(each), strength) for each in (source, target))
        return self.discriminate(one, other, weights)


def multilinear_map(features: Any, probabilities: Any) -> Any:
    """Return the outer product of features `(n, d)` and class probabilities `(n, c)`: `(n, d * c)`.

    >>> f, p = ops.convert_to_tensor([[1.0, 2.0]]), ops.convert_to_tensor([[0.25, 0.75]])
    >>> ops.convert_to_numpy(multilinear_map(f, p)).tolist()
    [[0.25, 0.75, 0.5, 1.5]]
    """
    outer = features[:, :, None] * probabilities[:, None, :]
    return ops.reshape(outer, (-1, features.shape[-1] * probabilities.shape[-1]))


def certainty(domain: Domain) -> Any:
    """Return `1 + exp(-entropy)` of each prediction, scaled to a mean of 1, `(n,)`; no gradient passes."""
    p = ops.stop_gradient(domain.probabilities)
    weights = 1.0 + ops.exp(ops.sum(p * ops.log(p + EPSILON), axis=-1))
    return weights / ops.mean(weights)


class ADDA(Adversary):
    """Adversarial discriminative adaptation: the target gets an encoder of its own.

    First, encoder and classifier learn the source. Then the encoder learns to map the target to features
    that a discriminator takes for source features; a frozen copy of it encodes the source, and the last
    layer is frozen.

    The encoder takes a small fraction of the learning rate and the discriminator all of it. Nothing but the
    discriminator keeps the target features near the source features, so it must not lag behind.

    Tzeng et al. 2017, "Adversarial Discriminative Domain Adaptation".

    Args:
        weight, rise, hidden: see `Adversary`.
        learning_rate_factor: the fraction of the learning rate that the encoder takes, 0 to 1.
    """

    starts_from_source = True
    trains = ENCODER

    def __init__(self, *args: Any, learning_rate_factor: float = 0.05, **options: Any) -> None:
        super().__init__(*args, **options)
        self.learning_rate_factor = learning_rate_factor

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        super().prepare(encoder, last)
        self.source_encoder = keras.models.clone_model(encoder)
        self.source_encoder.trainable = False

    def begin(self, encoder: keras.Model, pairs: Pairs) -> Pairs:
        self.source_encoder.set_weights(encoder.get_weights())
        return pairs

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        # dropout on both sides: else the discriminator recognises the target by its zeros
        return self.source_encoder(source, training=training), encoder(target, training=training)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        discriminator_loss = self.discriminate(
            ops.stop_gradient(source.features), ops.stop_gradient(target.features)
        )
        return discriminator_loss + strength * self.fooled(target.features)

    def fooled(self, features: Any) -> Any:
        """Return the loss of target features that should pass for source features.

        The discriminator gets no gradient from it.
        """
        fixed = [ops.stop_gradient(weight) for weight in self.discriminator.trainable_variables]
        answer, _ = self.discriminator.stateless_call(fixed, [], features)
        return ops.mean(ops.softplus(-answer))


def build_discriminator(
    inputs: int, hidden: int, outputs: int = 1, activation: str | None = None
) -> keras.Model:
    """Build a perceptron with one hidden layer of ReLU, in float32 under mixed precision, too.

    It normalises each row first; otherwise features could fool it by growing without bound.
    """
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            layers.LayerNormalization(dtype="float32"),
            layers.Dense(hidden, activation="relu", dtype="float32"),
            layers.Dense(outputs, activation=activation, dtype="float32"),
        ]
    )
