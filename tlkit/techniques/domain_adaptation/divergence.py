"""Align the domains by a measure of how far apart their features are, and make it small."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.techniques.domain_adaptation.alignment import LAST_LAYER, Alignment, Domain
from tlkit.techniques.domain_adaptation.pairs import Pairs

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
EPSILON = 1e-6


def mmd(source: Any, target: Any, bandwidths: Sequence[float] = BANDWIDTHS) -> Any:
    """Return the squared maximum mean discrepancy under a mixture of Gaussian kernels, 0 to 2.

    `mean k(s, s') + mean k(t, t') - 2 mean k(s, t)`, where `k(x, y)` is the mean over the bandwidths `b` of
    `exp(-|x - y|^2 / (b m))` and `m` the mean squared distance within the batch of both domains.

    Gretton et al. 2012, "A Kernel Two-Sample Test"; Long et al. 2015, "Learning Transferable Features with
    Deep Adaptation Networks".

    Args:
        source, target: `(n, d)` and `(m, d)`.
        bandwidths: widths of the kernels, as multiples of `m`.

    >>> same = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    >>> float(mmd(same, same)), float(mmd(same, same + 1)) > 0.1
    (0.0, True)
    """
    return _mean_discrepancy(gaussian_kernel(ops.concatenate([source, target]), bandwidths), len_of(source))


def joint_mmd(source: Sequence[Any], target: Sequence[Any]) -> Any:
    """Return the squared MMD of the joint distribution of several layers: the product of their kernels.

    Long et al. 2017, "Deep Transfer Learning with Joint Adaptation Networks".

    Args:
        source, target: the same layers' outputs, each `(n, d_i)` and `(m, d_i)`, such as features and
            class probabilities.
    """
    kernel = 1.0
    for one, other in zip(source, target, strict=True):
        kernel = kernel * gaussian_kernel(ops.concatenate([one, other]))
    return _mean_discrepancy(kernel, len_of(source[0]))


def coral(source: Any, target: Any) -> Any:
    """Return the distance of the covariances, `|C_s - C_t|_F^2 / (4 d^2)`.

    Sun & Saenko 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation".

    Args:
        source, target: `(n, d)` and `(m, d)`, at least two examples each.
    """
    difference = covariance(source) - covariance(target)
    return ops.sum(ops.square(difference)) / (4.0 * source.shape[-1] ** 2)


def cmd(source: Any, target: Any, moments: int = 5) -> Any:
    """Return the central moment discrepancy: how far apart the means and the next central moments are.

    `|E s - E t| + sum_k |E (s - E s)^k - E (t - E t)^k|` for k from 2, for features within an interval of
    length 1.

    Zellinger et al. 2017, "Central Moment Discrepancy (CMD) for Domain-Invariant Representation Learning".

    Args:
        source, target: `(n, d)` and `(m, d)`, values 0 to 1 (others by a squashing function first).
        moments: the highest moment that is compared.
    """
    source, target = ops.convert_to_tensor(source), ops.convert_to_tensor(target)
    means = ops.mean(source, axis=0), ops.mean(target, axis=0)
    centred = source - means[0], target - means[1]
    distance = _norm(means[0] - means[1])
    for k in range(2, moments + 1):
        one, other = (ops.mean(x**k, axis=0) for x in centred)
        distance = distance + _norm(one - other)
    return distance


def feature_norm(features: Any, step: float = 1.0) -> Any:
    """Return the loss that lets every feature vector grow by `step` each time: `mean (|f| - |f|' - step)^2`.

    `|f|'` is the same norm taken as a constant. Where target features are short, the network is unsure.

    Xu et al. 2019, "Larger Norm More Transferable: An Adaptive Feature Norm Approach for Unsupervised Domain
    Adaptation".
    """
    norms = ops.sqrt(ops.sum(ops.square(features), axis=-1) + EPSILON)
    return ops.mean(ops.square(norms - ops.stop_gradient(norms) - step))


class MMD(Alignment):
    """Deep adaptation network (DAN): the features' maximum mean discrepancy. See `mmd`."""

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * mmd(source.features, target.features)


class JAN(Alignment):
    """Joint adaptation network: the discrepancy of features and probabilities together. See `joint_mmd`."""

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * joint_mmd(
            (source.features, source.probabilities), (target.features, target.probabilities)
        )


class DeepCORAL(Alignment):
    """Correlation alignment of the features while they are learned. See `coral`."""

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * coral(source.features, target.features)


class CMD(Alignment):
    """Central moment discrepancy of the features, squashed by tanh to bound them. See `cmd`."""

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * cmd(ops.tanh(source.features), ops.tanh(target.features))


class AFN(Alignment):
    """Stepwise adaptive feature norm: features of both domains grow together. See `feature_norm`."""

    def __init__(self, weight: float = 0.05, rise: float | None = None, step: float = 1.0, **options: Any):
        super().__init__(weight, rise, **options)
        self.step = step

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        both = feature_norm(source.features, self.step) + feature_norm(target.features, self.step)
        return strength * both


class ClosedFormCORAL(Alignment):
    """Classical correlation alignment: recolour the fixed source features, then train the last layer on them.

    See `coral_map`. The encoder does not learn, so it has to know the source already.
    """

    starts_from_source = True
    trains = LAST_LAYER
    moves_features = False

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        d = encoder.output_shape[-1]
        options = {"trainable": False, "initializer": "zeros"}
        self.matrix = self.add_weight(shape=(d, d), name="matrix", **options)
        self.offset = self.add_weight(shape=(d,), name="offset", **options)

    def begin(self, encoder: keras.Model, pairs: Pairs) -> Pairs:
        features = [encoder.predict(each[:], verbose=0) for each in (pairs.source, pairs.target)]
        matrix, offset = coral_map(*features)
        self.matrix.assign(matrix)
        self.offset.assign(offset)
        return pairs

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        source, target = super().encode(encoder, source, target, training)
        return ops.matmul(source, ops.cast(self.matrix, source.dtype)) + self.offset, target


def coral_map(source: np.ndarray, target: np.ndarray, regularization: float = 1.0) -> tuple:
    """Return matrix and offset of the map that gives source features the target's mean and covariance.

    `(s - mean_s) C_s^(-1/2) C_t^(1/2) + mean_t`, each covariance with `regularization` times its mean
    variance on the diagonal, without which few examples leave it singular.

    Sun, Feng & Saenko 2016, "Return of Frustratingly Easy Domain Adaptation" (which leaves the means to a
    standardisation before).

    Args:
        source, target: `(n, d)` and `(m, d)`.

    Returns:
        float32 `(d, d)` and `(d,)`.
    """
    roots = []
    for features, power in ((source, -0.5), (target, 0.5)):
        c = np.cov(features, rowvar=False)
        values, vectors = np.linalg.eigh(c + regularization * np.trace(c) / len(c) * np.eye(len(c)))
        roots.append((vectors * np.maximum(values, 1e-12) ** power) @ vectors.T)
    matrix = roots[0] @ roots[1]
    offset = target.mean(axis=0) - source.mean(axis=0) @ matrix
    return matrix.astype("float32"), offset.astype("float32")


def gaussian_kernel(x: Any, bandwidths: Sequence[float] = BANDWIDTHS) -> Any:
    """Return the mean of Gaussian kernels between all rows `(n, d)`: `(n, n)`, widths relative to them."""
    squares = ops.sum(ops.square(x), axis=-1)
    distances = squares[:, None] + squares[None, :] - 2.0 * ops.matmul(x, ops.transpose(x))
    distances = ops.maximum(distances, 0.0)
    # a unit of length, not a quantity to be made small: features must not shrink to lower it
    unit = ops.stop_gradient(ops.mean(distances)) + EPSILON
    kernels = [ops.exp(-distances / (bandwidth * unit)) for bandwidth in bandwidths]
    return sum(kernels) / len(bandwidths)


def covariance(x: Any) -> Any:
    """Return the covariance `(d, d)` of the rows `(n, d)`, divided by n - 1."""
    x = ops.convert_to_tensor(x)
    centred = x - ops.mean(x, axis=0)
    return ops.matmul(ops.transpose(centred), centred) / ops.cast(len_of(x) - 1, x.dtype)


def len_of(x: Any) -> Any:
    """Return the number of rows; a tensor where the graph does not know it yet."""
    return ops.shape(x)[0]


def _mean_discrepancy(kernel: Any, n: Any) -> Any:
    within = ops.mean(kernel[:n, :n]) + ops.mean(kernel[n:, n:])
    return within - 2.0 * ops.mean(kernel[:n, n:])


def _norm(x: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(x)) + EPSILON**2)  # the root of 0 has no gradient
