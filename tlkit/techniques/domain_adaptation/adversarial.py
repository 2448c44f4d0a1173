"""Align the domains against a discriminator that tries to tell them apart."""

from typing import Any

import keras
from keras import ops

from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain
from tlkit.techniques.domain_adaptation.pairs import Pairs

EPSILON = 1e-6
LARGEST_MAP = 4096  # of CDAN; beyond it random features stand for the outer product, as in the paper


def reverse_gradient(x: Any, strength: Any = 1.0) -> Any:
    """Return `x` itself, with a gradient that is `-strength` times the one that arrives.

    Whoever reads the result learns to lower a loss; whoever made `x` learns to raise it. Ganin et al. 2016,
    "Domain-Adversarial Training of Neural Networks".

    >>> float(reverse_gradient(3.0, 0.5))
    3.0
    """
    return -strength * x + ops.stop_gradient((1.0 + strength) * x)


class Adversary(Alignment):
    """Base of the methods with a domain discriminator of one hidden layer.

    It logs `discriminator_accuracy`, the share of examples whose domain it finds, 0 to 1: near 0.5 it is
    lost, near 1 the domains are apart.

    Args:
        weight, rise: see `Alignment`; the strength is that of the reversed gradient.
        hidden: width of the discriminator's hidden layer.
    """

    def __init__(self, weight: float = 0.1, rise: float | None = 10.0, hidden: int = 100, **options: Any):
        super().__init__(weight, rise, **options)
        self.hidden = hidden
        self.accuracy = keras.metrics.Mean("discriminator_accuracy")

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        self.discriminator = opponent(self.width(encoder.output_shape[-1], last.units), self.hidden)

    def width(self, features: int, classes: int) -> int:
        """Return the number of values that the discriminator looks at."""
        return features

    def judge(self, source: Any, target: Any, weights: tuple[Any, Any] | None = None) -> Any:
        """Return the binary cross-entropy of telling source from target, each `(n, width)`.

        Each domain counts half; `weights` are those of the examples, each `(n,)` with mean 1.
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
    """Domain-adversarial network: the features' gradient from a domain discriminator is reversed.

    Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks".
    """

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return self.judge(*(reverse_gradient(each.features, strength) for each in (source, target)))


class CDAN(Adversary):
    """Conditional adversarial network: the discriminator sees features times class probabilities.

    Long et al. 2018, "Conditional Adversarial Domain Adaptation".

    Args:
        weight, rise, hidden: see `Adversary`.
        entropy: weight each example by how sure the network is of it (CDAN+E).
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
        """Return what the discriminator sees: see `multilinear_map`, or random features in its place."""
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
        return self.judge(one, other, weights)


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

    First encoder and classifier learn the source. Then a copy of the encoder, started there, learns to make
    target features that a discriminator takes for the source's; the source encoder and the classifier stay.

    The encoder takes small steps, the discriminator full ones: nothing else holds the features where the
    classifier knows them, and a discriminator that lags behind is fooled by features that run past the
    source's.

    Tzeng et al. 2017, "Adversarial Discriminative Domain Adaptation".

    Args:
        weight, rise, hidden: see `Adversary`.
        share: of the step size that the encoder takes, 0 to 1.
    """

    starts_from_source = True

    def __init__(self, *args: Any, share: float = 0.05, **options: Any) -> None:
        super().__init__(*args, **options)
        self.share = share

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        super().prepare(encoder, last)
        self.source_encoder = keras.models.clone_model(encoder)
        self.source_encoder.trainable = False

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        # with dropout on both sides: else the discriminator finds the target by its zeros
        return self.source_encoder(source, training=training), encoder(target, training=training)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        judged = self.judge(ops.stop_gradient(source.features), ops.stop_gradient(target.features))
        return judged + strength * self.fooled(target.features)

    def fooled(self, features: Any) -> Any:
        """Return the loss of features that should pass for the source's; the discriminator does not learn."""
        fixed = [ops.stop_gradient(weight) for weight in self.discriminator.trainable_variables]
        answer, _ = self.discriminator.stateless_call(fixed, [], features)
        return ops.mean(ops.softplus(-answer))

    def fit(self, adapter: Any, pairs: Pairs, **options: Any) -> keras.callbacks.History:
        self.source_encoder.set_weights(adapter.encoder.get_weights())
        with adapter.learning(adapter.encoder, share=self.share):
            return adapter.stock_fit(pairs, **options)


def opponent(inputs: int, hidden: int, outputs: int = 1, activation: str | None = None) -> keras.Model:
    """Build a perceptron with one hidden layer of ReLU, float32 under mixed precision too.

    It sees each row normalised: by features that grow and grow it could be fooled without end.
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
