"""DANN and Deep CORAL as one writes them by hand for TensorFlow: a `tf.function` and a gradient tape."""

from typing import Any

import numpy as np
import tensorflow as tf
from peers.sides import BATCH, Loop


class TensorFlowLoop(Loop):
    """The examples are tensors, and a step gathers its batch from them."""

    def __init__(self, method: str, given: str, epochs: int) -> None:
        super().__init__(method, given, epochs)
        self.examples = [tf.constant(self.given[name]) for name in ("xs", "ys", "xt")]
        self._step = tf.function(self._trace)

    def step(self, i: np.ndarray, j: np.ndarray, strength: np.float32) -> Any:
        return self._step(tf.constant(i), tf.constant(j), tf.constant(strength))

    def _trace(self, i: Any, j: Any, strength: Any) -> Any:
        source, labels, target = (
            tf.gather(each, rows) for each, rows in zip(self.examples, (i, i, j), strict=True)
        )
        with tf.GradientTape() as tape:
            if self.norm:  # each domain by itself, and the statistics are the target's
                kept = [tf.identity(each) for each in self.encoder.non_trainable_variables]
                one = self.encoder(source, training=True)
                for variable, value in zip(self.encoder.non_trainable_variables, kept, strict=True):
                    variable.assign(value)
                features = tf.concat([one, self.encoder(target, training=True)], 0)
            else:
                features = self.encoder(tf.concat([source, target], 0), training=True)
            right = tf.gather(self.last(features)[:BATCH], labels, batch_dims=1)
            loss = -tf.reduce_mean(tf.math.log(tf.clip_by_value(right, 1e-7, 1 - 1e-7)))
            loss += self.alignment(features, strength)
        gradients = tape.gradient(loss, self.learned)
        self.optimizer.apply(gradients, self.learned)
        return loss

    def alignment(self, features: Any, strength: Any) -> Any:
        if self.method == "dann":
            reversed_features = tf.stop_gradient((1 + strength) * features) - strength * features
            answers = self.discriminator(reversed_features)[:, 0]
            errors = tf.nn.softplus(-answers[:BATCH]), tf.nn.softplus(answers[BATCH:])
            return (tf.reduce_mean(errors[0]) + tf.reduce_mean(errors[1])) / 2
        covariances = []
        for x in (features[:BATCH], features[BATCH:]):
            centred = x - tf.reduce_mean(x, axis=0)
            covariances.append(tf.matmul(centred, centred, transpose_a=True) / (BATCH - 1))
        apart = tf.reduce_sum(tf.square(covariances[0] - covariances[1]))
        return strength * apart / (4 * features.shape[1] ** 2)
