"""Normalise by the statistics of a stream, of which a batch shows only a few images."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.models import normalizations


class Statistics(keras.Layer):
    """Mean and variance of the inputs of one BatchNormalization, over source and stream.

    After each batch, the layer is set so that it maps inputs with these statistics to outputs with the
    statistics that source images had. This matters if the layer was frozen in training: its own statistics
    are then older than the source, and the later layers were trained with them.

    Args:
        norm: the layer; without `measure`, its own statistics are taken for those of the source.
    """

    def __init__(self, norm: keras.layers.BatchNormalization) -> None:
        super().__init__(dtype="float32", name="statistics")
        self.own = _numpy(norm.moving_mean, norm.moving_variance)
        self.mean, self.variance = (self.add_weight(shape=each.shape, trainable=False) for each in self.own)
        self.mean.assign(self.own[0])
        self.variance.assign(self.own[1])
        self.source, self.built = self.own, True

    def update(self, norm: keras.layers.BatchNormalization, inputs: Any, share: Any) -> None:
        """Move the statistics towards those of the inputs, which count for the fraction `share`, 0 to 1."""
        x = ops.stop_gradient(ops.cast(inputs, "float32"))
        mean, variance = ops.moments(x, [axis for axis in range(x.ndim) if axis != norm.axis % x.ndim])
        moved = mean - self.mean
        between = share * (1 - share) * ops.square(moved)  # so that the variance of two groups is exact
        self.variance.assign((1 - share) * self.variance + share * variance + between)
        self.mean.assign(self.mean + share * moved)

    def set_layer(self, norm: keras.layers.BatchNormalization) -> None:
        """Let the layer normalise by these statistics."""
        (own_mean, own_variance), (mean, variance) = self.own, self.source
        ratio = (self.variance + norm.epsilon) / (variance + norm.epsilon)
        norm.moving_variance.assign((own_variance + norm.epsilon) * ratio - norm.epsilon)
        norm.moving_mean.assign(self.mean - (mean - own_mean) * ops.sqrt(ratio))


def measure(network: keras.Model, statistics: list[Statistics], images: Any, batch_size: int = 64) -> None:
    """Measure the statistics of source images; the network does not change."""

    def count(stats: Statistics, norm: keras.layers.BatchNormalization, inputs: Any) -> None:
        stats.update(norm, inputs, share)

    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size], "float32")
        share = len(batch) / (start + len(batch))
        with before_each(network, statistics, count):
            network(batch, training=False)
    for each in statistics:
        each.source = _numpy(each.mean, each.variance)


def follow(network: keras.Model, statistics: list[Statistics], images: Any, share: Any) -> Any:
    """Update the statistics of each layer by its inputs, and return the outputs normalised by them."""

    def move(stats: Statistics, norm: keras.layers.BatchNormalization, inputs: Any) -> None:
        stats.update(norm, inputs, share)
        stats.set_layer(norm)

    with before_each(network, statistics, move):
        return network(images, training=False)


@contextmanager
def before_each(network: keras.Model, statistics: list[Statistics], act: Any) -> Iterator[None]:
    """Within the block, call `act(statistics, layer, inputs)` before each BatchNormalization."""

    def call(stats: Statistics, norm: Any, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        act(stats, norm, inputs)
        return type(norm).call(norm, inputs, training=False)

    norms = normalizations(network)[: len(statistics)]
    try:
        for norm, stats in zip(norms, statistics, strict=True):
            norm.call = partial(call, stats, norm)
        yield
    finally:
        for norm in norms:
            vars(norm).pop("call", None)  # that of the class again


def _numpy(*variables: Any) -> tuple[np.ndarray, ...]:
    return tuple(ops.convert_to_numpy(each).copy() for each in variables)
