"""Align the domains against an opponent that tries to tell them apart."""

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

    def prepare(self, encoder: keras.Model, last: keras.layers.Dense) -> None:
        self.discriminator = opponent(self.width(encoder.output_shape[-1], last.units), self.hidden)

    def width(self, features: int, classes: int) -> int:
        """Return the number of values that the discriminator looks at."""
        return features

    def judge(self, source: Any, target: Any, weights: tuple[Any, Any] | None = None) -> Any:
        """Return the binary cross-entropy of telling source from target, each `(n, width)`.

        Each domain counts half; `weights` are those of the examples, each `(n,)` with mean 1.
        """
        real, fake = self.discriminator(source)[:, 0], self.discriminator(target)[:, 0]
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


class WDGRL(Alignment):
    """Wasserstein distance guided representation: a critic with a gradient penalty measures how far apart.

    The critic is one hidden layer of ReLU, so its gradient, `W_1 (mask * w_2)`, needs no second
    differentiation. Critic and features learn in the same step, by a reversed gradient; the authors let the
    critic learn several steps for each one of the features.

    Shen et al. 2018, "Wasserstein Distance Guided Representation Learning for Domain Adaptation".

    Args:
        weight, rise: see `Alignment`.
        hidden: width of the critic's hidden layer.
        penalty: weight of the gradient penalty.
    """

    def __init__(
        self,
        weight: float = 0.1,
        rise: float | None = 10.0,
        hidden: int = 100,
        penalty: float = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(weight, rise, **options)
        self.hidden = hidden
        self.penalty = penalty
        self.seeds = keras.random.SeedGenerator()

    def prepare(self, encoder: keras.Model, last: keras.layers.Dense) -> None:
        self.critic = keras.Sequential(
            [
                keras.Input((encoder.output_shape[-1],)),
                keras.layers.Dense(self.hidden, activation="relu", dtype="float32"),
                keras.layers.Dense(1, dtype="float32"),
            ]
        )

    def critic_gradient(self, features: Any) -> Any:
        """Return the gradient of the critic at each row of the features, `(n, d)`."""
        first, second = self.critic.layers
        active = ops.cast(ops.matmul(features, first.kernel) + first.bias > 0, "float32")
        return ops.matmul(active * second.kernel[:, 0], ops.transpose(first.kernel))

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        apart = ops.mean(self.critic(reverse_gradient(source.features, strength))) - ops.mean(
            self.critic(reverse_gradient(target.features, strength))
        )
        one, other = (ops.stop_gradient(each.features) for each in (source, target))
        mix = keras.random.uniform(ops.shape(one[:, :1]), seed=self.seeds)
        between = mix * one + (1.0 - mix) * other
        sizes = [
            ops.sqrt(ops.sum(ops.square(self.critic_gradient(x)), axis=-1) + EPSILON)
            for x in (one, other, between)
        ]
        too_steep = sum(ops.mean(ops.square(size - 1.0)) for size in sizes) / len(sizes)
        return -apart + self.penalty * too_steep


class MCD(Alignment):
    """Maximum classifier discrepancy: two classifiers disagree where the target leaves the source.

    They learn to disagree on the target while the features learn to make them agree, in one step by a
    reversed gradient, as the authors' code offers beside their three alternating ones.

    Saito et al. 2018, "Maximum Classifier Discrepancy for Unsupervised Domain Adaptation".
    """

    def prepare(self, encoder: keras.Model, last: keras.layers.Dense) -> None:
        self.first = last
        self.second = second_opinion(last)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        seen = reverse_gradient(target.features, strength)
        disagreement = ops.mean(ops.abs(self.first(seen) - self.second(seen)))
        errors = ops.sparse_categorical_crossentropy(source.labels, self.second(source.features))
        return ops.mean(errors) - disagreement


class MDD(Alignment):
    """Margin disparity discrepancy: an adversary agrees on the source and contradicts on the target.

    Zhang et al. 2019, "Bridging Theory and Algorithm for Domain Adaptation".

    Args:
        weight, rise: see `Alignment`.
        margin: weight of agreeing on the source, gamma in the paper.
        hidden: width of the adversary's hidden layer.
    """

    def __init__(
        self,
        weight: float = 0.1,
        rise: float | None = 10.0,
        margin: float = 4.0,
        hidden: int = 100,
        **options: Any,
    ) -> None:
        super().__init__(weight, rise, **options)
        self.margin = margin
        self.hidden = hidden

    def prepare(self, encoder: keras.Model, last: keras.layers.Dense) -> None:
        self.adversary = opponent(encoder.output_shape[-1], self.hidden, last.units, "softmax")

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        answers = [
            ops.take_along_axis(
                self.adversary(reverse_gradient(each.features, strength)),
                ops.argmax(each.probabilities, axis=-1)[:, None],
                axis=-1,
            )
            for each in (source, target)
        ]
        agrees, contradicts = answers[0], 1.0 - answers[1]
        return -self.margin * ops.mean(ops.log(agrees + EPSILON)) - ops.mean(ops.log(contradicts + EPSILON))


class ADDA(Adversary):
    """Adversarial discriminative adaptation: the target gets an encoder of its own.

    First encoder and classifier learn the source. Then a copy of the encoder, started there, learns to make
    target features that a discriminator takes for the source's; the source encoder and the classifier stay.

    The second phase takes a tenth of the step size: nothing else holds the features where the classifier
    knows them.

    Tzeng et al. 2017, "Adversarial Discriminative Domain Adaptation".
    """

    starts_from_source = True

    def prepare(self, encoder: keras.Model, last: keras.layers.Dense) -> None:
        super().prepare(encoder, last)
        self.source_encoder = keras.models.clone_model(encoder)
        self.source_encoder.trainable = False

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        return self.source_encoder(source, training=False), encoder(target, training=training)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        judged = self.judge(ops.stop_gradient(source.features), ops.stop_gradient(target.features))
        return judged + strength * self.fooled(target.features)

    def fooled(self, features: Any) -> Any:
        """Return the loss of features that should pass for the source's; the discriminator does not learn."""
        fixed = [ops.stop_gradient(weight) for weight in self.discriminator.trainable_variables]
        answer, _ = self.discriminator.stateless_call(fixed, [], features)
        return ops.mean(ops.softplus(-answer))

    def train(self, adapter: Any, pairs: Pairs, **options: Any) -> keras.callbacks.History:
        self.source_encoder.set_weights(adapter.encoder.get_weights())
        with adapter.learning(adapter.encoder, share=0.1):
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


def second_opinion(last: keras.layers.Dense) -> keras.layers.Dense:
    """Return a classifier like `last` with random weights of its own."""
    layer = keras.layers.Dense.from_config(last.get_config() | {"name": "second_opinion"})
    layer.build((None, last.kernel.shape[0]))
    return layer
