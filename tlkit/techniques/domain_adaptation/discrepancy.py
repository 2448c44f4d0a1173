"""Align the domains against a second network that learns to measure how far apart they are."""

from typing import Any

import keras
from keras import ops

from tlkit.techniques.domain_adaptation.adversarial import EPSILON, build_discriminator, reverse_gradient
from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain


class WDGRL(Alignment):
    """Wasserstein distance guided representation: a critic measures the distance of the domains.

    A penalty keeps the critic's gradient at length 1. The critic has one hidden layer of ReLU, so that this
    gradient, `W_1 (mask * w_2)`, needs no second differentiation. Critic and features learn in the same step,
    by a reversed gradient; in the paper the critic takes several steps for each step of the features.

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

    def prepare(self, encoder: keras.Model, last: Any) -> None:
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
    """Maximum classifier discrepancy: two classifiers must agree on the target.

    The classifiers learn to disagree on the target while the features learn to make them agree. Both learn
    in one step, by a reversed gradient; the paper alternates three steps.

    Saito et al. 2018, "Maximum Classifier Discrepancy for Unsupervised Domain Adaptation".
    """

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        self.first = last
        self.second = second_classifier(last)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        features = reverse_gradient(target.features, strength)
        disagreement = ops.mean(ops.abs(self.first(features) - self.second(features)))
        errors = ops.sparse_categorical_crossentropy(source.labels, self.second(source.features))
        return ops.mean(errors) - disagreement


class MDD(Alignment):
    """Margin disparity discrepancy: no adversary may contradict the classifier on the target alone.

    The adversary learns to agree with the classifier on the source and to contradict it on the target.

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

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        self.adversary = build_discriminator(encoder.output_shape[-1], self.hidden, last.units, "softmax")

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


def second_classifier(last: Any) -> keras.layers.Dense:
    """Return a last layer like `last` that gives probabilities, with random weights."""
    dense = getattr(last, "dense", last)
    named = {"name": "second_classifier", "activation": "softmax"}
    layer = keras.layers.Dense.from_config(dense.get_config() | named)
    layer.build((None, dense.kernel.shape[0]))
    return layer
