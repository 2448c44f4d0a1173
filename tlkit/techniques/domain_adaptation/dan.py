"""MMD (DAN): make the features of both domains have the same distribution, as a kernel sees it.

Long et al. 2015, "Learning Transferable Features with Deep Adaptation Networks".
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
EPSILON = 1e-6


class MMD(Alignment):
    """Deep adaptation network (DAN): the loss is the maximum mean discrepancy of the features. See `mmd`."""

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * mmd(source.features, target.features)


def mmd(source: Any, target: Any, bandwidths: Sequence[float] = BANDWIDTHS) -> Any:
    """Return the squared maximum mean discrepancy under a mixture of Gaussian kernels, 0 to 2.

    `mean k(s, s') + mean k(t, t') - 2 mean k(s, t)`, where `k(x, y)` is the mean over the bandwidths `b` of
    `exp(-|x - y|^2 / (b m))` and `m` the mean squared distance within the batch of both domains.

    Gretton et al. 2012, "A Kernel Two-Sample Test".

    Args:
        source, target: `(n, d)` and `(m, d)`.
        bandwidths: widths of the kernels, as multiples of `m`.

    >>> import numpy as np
    >>> same = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    >>> float(mmd(same, same)), float(mmd(same, same + 1)) > 0.1
    (0.0, True)
    """
    kernel = gaussian_kernel(ops.concatenate([source, target]), bandwidths)
    return mean_discrepancy(kernel, ops.shape(source)[0])


def gaussian_kernel(x: Any, bandwidths: Sequence[float] = BANDWIDTHS) -> Any:
    """Return the mean of Gaussian kernels between all rows `(n, d)`: `(n, n)`, widths relative to them."""
    squares = ops.sum(ops.square(x), axis=-1)
    distances = squares[:, None] + squares[None, :] - 2.0 * ops.matmul(x, ops.transpose(x))
    distances = ops.maximum(distances, 0.0)
    # The unit of length has no gradient: features must not shrink to lower it.
    unit = ops.stop_gradient(ops.mean(distances)) + EPSILON
    kernels = [ops.exp(-distances / (bandwidth * unit)) for bandwidth in bandwidths]
    return sum(kernels) / len(bandwidths)


def mean_discrepancy(kernel: Any, n: Any) -> Any:
    """Return the squared discrepancy, given a kernel `(n + m, n + m)` of `n` source and `m` target rows."""
    within = ops.mean(kernel[:n, :n]) + ops.mean(kernel[n:, n:])
    return within - 2.0 * ops.mean(kernel[:n, n:])
