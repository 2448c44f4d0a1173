"""Weight the source examples, so that those which resemble the target count more."""

from typing import Any

import keras
import numpy as np
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

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

    def importance(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return the weight of each row of the source's features."""
        return kliep(source, target)

    def begin(self, encoder: keras.Model, pairs: Pairs) -> Pairs:
        source, target = (
            encoder.predict(each[:], verbose=0).astype("float32") for each in (pairs.source, pairs.target)
        )
        return pairs.weighted(self.importance(source, target))


class DomainRatio(KLIEP):
    """Importance weighting by a classifier that tells the domains apart. See `domain_ratio`."""

    def importance(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        return domain_ratio(source, target)


def kliep(
    source: np.ndarray, target: np.ndarray, *, centers: int = 100, steps: int = 500, seed: int = 0
) -> np.ndarray:
    """Return the importance of each source example, p_target / p_source, by Kullback-Leibler fitting.

    The ratio is a mixture of Gaussians around target examples that maximises the target's mean log-ratio
    while the source's mean is 1. Each step is the one of expectation maximisation for these mixture weights,
    so it needs no learning rate. The width is the one of five with the best held-out log-ratio.

    Sugiyama et al. 2008, "Direct Importance Estimation for Covariate Shift Adaptation".

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
    near_target, near_source = (cdist(each, middles, "sqeuclidean") for each in (target, source))
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


def domain_ratio(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the importance of each source example by a logistic regression of the domain.

    `p(target | x) n / (p(source | x) m)`, each example judged by a classifier that did not see it, scaled to
    a mean of 1.

    Bickel et al. 2009, "Discriminative Learning Under Covariate Shift".

    Args:
        source, target: features `(n, d)` and `(m, d)`, at least five examples each.

    Returns:
        float64 `(n,)`.
    """
    x, domain = both_domains(source, target)
    with threadpool_limits(1):  # on so few examples threads only wait for each other
        p = cross_val_predict(domain_classifier(), x, domain, method="predict_proba")[: len(source), 1]
    ratio = p / np.maximum(1.0 - p, 1e-6)
    return ratio / ratio.mean()


def domain_classifier() -> Pipeline:
    """Build the linear classifier that tells the domains apart."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=200))


def both_domains(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both domains and the domain of each, 0 for the source and 1 for the target."""
    return np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)])
