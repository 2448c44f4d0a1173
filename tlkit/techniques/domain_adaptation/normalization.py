"""Adapt nothing but the batch normalisation of a network that has learned the source."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import TlkitError
from tlkit.models import flat_layers, normalizations
from tlkit.techniques.domain_adaptation.alignment import NORMALIZATION, NOTHING, Alignment, Domain
from tlkit.techniques.domain_adaptation.pairs import Pairs
from tlkit.techniques.domain_adaptation.predictions import entropy
from tlkit.techniques.domain_adaptation.streams.statistics import Statistics, follow, measure


class AdaBN(Alignment):
    """Adaptive batch normalisation: replace the statistics of the source by those of the target.

    No weight is trained. Li et al. 2017, "Revisiting Batch Normalization for Practical Domain Adaptation".
    """

    starts_from_source = True
    trains = NOTHING
    moves_features = False
    needs_source = False

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        require(encoder)

    def begin(self, encoder: keras.Model, pairs: Pairs) -> Pairs:
        adapt_statistics(encoder, pairs.target, pairs.batch_size)
        return pairs


class TENT(AdaBN):
    """Test-time entropy minimisation: train the scale and offset of batch normalisation for sure predictions.

    The loss is the entropy of the target predictions alone; each target batch is normalised by its own
    statistics. Wang et al. 2021, "Tent: Fully Test-Time Adaptation by Entropy Minimization".

    Args:
        weight, rise: see `Alignment`.
        learning_rate_factor: the fraction of the learning rate that the normalisation takes, 0 to 1.
    """

    trains = NORMALIZATION
    supervised = False

    def __init__(
        self,
        weight: float = 1.0,
        rise: float | None = None,
        learning_rate_factor: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(weight, rise, **options)
        self.learning_rate_factor = learning_rate_factor

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        known = None if source is None else encoder(source, training=False)
        return known, encoder(target, training=training)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * ops.mean(entropy(target.probabilities))


def adapt_statistics(network: keras.Model, inputs: Any, batch_size: int = 32, *, frozen: bool = True) -> None:
    """Set mean and variance of every BatchNormalization to those of these inputs, averaged over batches.

    Args:
        network: its weights stay as they are; other layers act as in prediction.
        inputs: `(n, ...)`, without labels.
        batch_size: examples of which the statistics are taken at a time.
        frozen: those of frozen layers too.

    Raises:
        TlkitError: the network has no BatchNormalization.
    """
    norms = [norm for norm in require(network) if frozen or norm.trainable]
    others = [layer for layer in flat_layers(network) if isinstance(layer, keras.layers.Dropout)]
    before = [(layer, layer.momentum, layer.trainable) for layer in norms]
    rates = [(layer, layer.rate) for layer in others]
    try:
        for layer, _ in rates:
            layer.rate = 0.0
        for layer in norms:
            layer.trainable = True
        for step in range(math.ceil(len(inputs) / batch_size)):
            for layer in norms:  # the k-th batch counts 1 / k: the plain mean over all of them
                layer.momentum = 1.0 - 1.0 / (step + 1)
            network(inputs[step * batch_size : (step + 1) * batch_size], training=True)
    finally:
        for layer, momentum, trainable in before:
            layer.momentum, layer.trainable = momentum, trainable
        for layer, rate in rates:
            layer.rate = rate


def match_statistics(network: keras.Model, source: Any, target: Any, batch_size: int = 64) -> None:
    """Set each BatchNormalization so that target images leave it with the statistics of source images.

    The layer measures each channel's mean and variance `m_s, v_s` in the source and `m_t, v_t` in the target.
    It then maps a target value `x` to what it did for the source value `m_s + (x - m_t) sqrt(v_s / v_t)`.
    For a network that was trained on the source, this is `AdaBN`. A frozen backbone was trained on other
    images, such as ImageNet, so its layers still hold the statistics of those. With `AdaBN`, features of the
    target would be normalised, and those of the source, on which the head was trained, would not.

    Li et al. 2017, "Revisiting Batch Normalization for Practical Domain Adaptation".

    Args:
        network: its weights stay as they are, apart from the moving means and variances.
        source, target: images or other inputs `(n, ...)` and `(m, ...)`, without labels. Lesson 04
            uses 64 of each; each position of a feature map counts.
        batch_size: inputs of which the statistics are measured at a time.

    Raises:
        TlkitError: the network has no BatchNormalization.

    >>> rng = np.random.default_rng(0)
    >>> norm = keras.layers.BatchNormalization()
    >>> network = keras.Sequential([keras.Input((3,)), norm])
    >>> source, target = rng.normal(1.0, 2.0, (500, 3)), rng.normal(5.0, 0.5, (500, 3))
    >>> before = network.predict(source, verbose=0)
    >>> match_statistics(network, source, target)
    >>> after = network.predict(target, verbose=0)
    >>> np.abs(after.mean(axis=0) - before.mean(axis=0)).max() < 0.01
    np.True_
    """
    statistics = [Statistics(norm) for norm in require(network)]
    measure(network, statistics, source, batch_size)
    for start in range(0, len(target), batch_size):
        batch = np.asarray(target[start : start + batch_size], "float32")
        follow(network, statistics, batch, len(batch) / (start + len(batch)))


def require(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the BatchNormalization layers of a network that must have some."""
    norms = normalizations(network)
    if not norms:
        raise TlkitError(
            f"{network.name} has no BatchNormalization whose statistics could be adapted. Use a backbone "
            "that has some, such as EfficientNetLite0 or LeNetBN, a head with a bottleneck, or another "
            "method."
        )
    return norms
