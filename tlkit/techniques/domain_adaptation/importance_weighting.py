"""KLIEP: weight the source examples, so that those which resemble the target count more.

Sugiyama et al. 2008, "Direct Importance Estimation for Covariate Shift Adaptation".
"""

from typing import Any

import keras
import numpy as np
from scipy.spatial.distance import cdist

from tlkit.techniques.domain_adaptation.alignment import Alignment
from tlkit.techniques.domain_adaptation.pairs import Pairs


class KLIEP(Alignment):
    """Importance weighting: source examples that resemble the target count more. See `kliep`.

    Only the weights adapt: unlike under most methods, batch normalisation keeps the source's statistics.
    """

    starts_from_source = True
    moves_features = False

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        return encoder(source, training=training), encoder(target, training=False)

    def begin(self, encoder: keras.Model, pairs: Pairs) -> Pairs:
        features = [encoder.predict(inputs[:], verbose=0) for inputs in (pairs.source, pairs.target)]
        return pairs.weighted(kliep(*(x.astype("float32") for x in features)))


def kliep(
    source: np.ndarray, target: np.ndarray, *, centers: int = 100, steps: int = 500, seed: int = 0
) -> np.ndarray:
    """Return the importance of each source example, p_target / p_source, by Kullback-Leibler fitting.

    The ratio is a mixture of Gaussians around target examples that maximises the target's mean log-ratio
    while the source's mean is 1. Each step is the one of expectation maximisation for these mixture weights,
    so it needs no learning rate. The width is the one of five with the best held-out log-ratio.

    Args:
        source, target: features `(n, d)` and `(m, d)`.
        centers: Gaussians, at most.
        steps: of the optimisation.
        seed: chooses the centers and what is held out.

    Returns:
        float64 `(n,)`, at least 0, mean 1.
    """
    rng = np.random.default_rng(seed)
    middles = target[rng.permutation(len(target))[:centers]]
    near_target, near_source = (cdist(x, middles, "sqeuclidean") for x in (target, source))
    held_out = rng.permutation(len(target)) % 5 == 0
    best, weights = -np.inf, np.ones(len(source))
    for width in np.median(near_target) * np.array([0.1, 0.3, 1.0, 3.0, 10.0]):
        a, b = np.exp(-near_target / width), np.exp(-near_source / width)
        score = np.log(a[held_out] @ _mixture(a[~held_out], b, steps) + 1e-12).mean()
        if score > best:
            best, weights = score, b @ _mixture(a, b, steps)
    return weights / weights.mean()


def _mixture(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    mass = b.mean(axis=0) + 1e-12  # what each Gaussian weighs on the source
    alpha = 1.0 / (len(mass) * mass)
    for _ in range(steps):
        alpha = alpha * (a / (a @ alpha + 1e-12)[:, None]).mean(axis=0) / mass
    return alpha
