"""AdaBN: replace the statistics of batch normalisation, and train nothing.

Li et al. 2017, "Revisiting Batch Normalization for Practical Domain Adaptation".
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import TlkitError
from tlkit.models import flat_layers, normalizations
from tlkit.techniques.domain_adaptation.alignment import NOTHING, Alignment
from tlkit.techniques.domain_adaptation.pairs import Pairs


class AdaBN(Alignment):
    """Adaptive batch normalisation: replace the statistics of the source by those of the target.

    Raises:
        TlkitError: the network has no BatchNormalization.
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
    dropouts = [layer for layer in flat_layers(network) if isinstance(layer, keras.layers.Dropout)]
    before = [(norm, norm.momentum, norm.trainable) for norm in norms]
    rates = [layer.rate for layer in dropouts]
    try:
        for layer in dropouts:
            layer.rate = 0.0
        for norm in norms:
            norm.trainable = True
        for step in range(math.ceil(len(inputs) / batch_size)):
            for norm in norms:  # the k-th batch counts 1 / k: the plain mean over all of them
                norm.momentum = 1.0 - 1.0 / (step + 1)
            network(inputs[step * batch_size : (step + 1) * batch_size], training=True)
    finally:
        for norm, momentum, trainable in before:
            norm.momentum, norm.trainable = momentum, trainable
        for layer, rate in zip(dropouts, rates, strict=True):
            layer.rate = rate


def match_statistics(network: keras.Model, source: Any, target: Any) -> None:
    """Set each BatchNormalization so that target images leave it with the statistics of source images.

    The layer measures each channel's mean and variance `m_s, v_s` in the source and `m_t, v_t` in the target.
    It then maps a target value `x` to what it did for the source value `m_s + (x - m_t) sqrt(v_s / v_t)`.
    For a network that was trained on the source, this is `AdaBN`. A frozen backbone was trained on other
    images, such as ImageNet, so its layers still hold the statistics of those. With `AdaBN`, features of the
    target would be normalised, and those of the source, on which the head was trained, would not.

    Args:
        network: its weights stay as they are, apart from the moving means and variances.
        source, target: images or other inputs `(n, ...)` and `(m, ...)`, without labels. Each is one batch,
            so it has to fit the memory; 64 of each are enough, because each position of a feature map counts.

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
    norms, of_source = require(network), {}

    def measure(norm: Any, inputs: Any) -> None:
        of_source[id(norm)] = _moments(norm, inputs)

    def match(norm: Any, inputs: Any) -> None:
        (mean, variance), (new_mean, new_variance) = of_source[id(norm)], _moments(norm, inputs)
        ratio = (new_variance + norm.epsilon) / (variance + norm.epsilon)
        norm.moving_mean.assign(new_mean - (mean - norm.moving_mean) * ops.sqrt(ratio))
        norm.moving_variance.assign((norm.moving_variance + norm.epsilon) * ratio - norm.epsilon)

    for inputs, act in ((source, measure), (target, match)):
        with _before_each(norms, act):
            network(np.asarray(inputs[:], "float32"), training=False)


@contextmanager
def _before_each(norms: list[Any], act: Callable[[Any, Any], None]) -> Iterator[None]:
    """Within the block, each layer calls `act(layer, inputs)` before it normalises the inputs."""

    def call(norm: Any, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        act(norm, inputs)
        return type(norm).call(norm, inputs, training=False)

    try:
        for norm in norms:
            norm.call = partial(call, norm)
        yield
    finally:
        for norm in norms:
            vars(norm).pop("call", None)  # that of the class again


def _moments(norm: Any, inputs: Any) -> tuple[Any, Any]:
    """Return mean and variance of each channel, `(channels,)`."""
    x = ops.stop_gradient(ops.cast(inputs, "float32"))
    return ops.moments(x, [axis for axis in range(x.ndim) if axis != norm.axis % x.ndim])


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
