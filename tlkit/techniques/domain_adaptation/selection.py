"""Choose among trained networks without target labels, because nobody has them.

Each score takes what the network makes of held-out source examples, and of the target: `Seen` for both.
Higher is better for all of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import cross_val_score
from threadpoolctl import threadpool_limits

from tlkit.errors import UnknownNameError
from tlkit.techniques.domain_adaptation.weighting import both_domains, domain_classifier, domain_ratio

MOST = 1000  # target examples that are looked at; some scores compare all pairs


class Seen(NamedTuple):
    """What a network makes of a domain: features `(n, d)`, class probabilities, and labels if known."""

    features: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray | None = None


def source_accuracy(source: Seen, target: Seen) -> float:
    """Return the accuracy on held-out source examples, 0 to 1: blind to the target."""
    return float(np.mean(source.probabilities.argmax(axis=1) == source.labels))


def target_entropy(source: Seen, target: Seen) -> float:
    """Return minus the mean entropy of the target's predictions, in nats; 0 is best.

    Fooled by a network that is sure of one class for everything. Morerio et al. 2018, "Minimal-Entropy
    Correlation Alignment".
    """
    p = target.probabilities
    return float(np.mean(np.sum(p * np.log(p + 1e-12), axis=1)))


def soft_neighborhood_density(source: Seen, target: Seen, temperature: float = 0.05) -> float:
    """Return the soft neighbourhood density (SND), from 0 to log(n - 1): how many neighbours agree.

    The mean entropy of each target example's similarities to the others, by the predictions' cosine.
    Saito et al. 2021, "Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft
    Neighborhood Density".
    """
    p = target.probabilities / np.linalg.norm(target.probabilities, axis=1, keepdims=True)
    similarity = p @ p.T / temperature
    np.fill_diagonal(similarity, -np.inf)
    similarity = np.exp(similarity - similarity.max(axis=1, keepdims=True))
    similarity /= similarity.sum(axis=1, keepdims=True)
    return float(-np.mean(np.sum(similarity * np.log(similarity + 1e-12), axis=1)))


def importance_weighted(source: Seen, target: Seen) -> float:
    """Return minus the source's error, weighted to the target's density (IWCV); 0 is best.

    Sugiyama et al. 2007, "Covariate Shift Adaptation by Importance Weighted Cross Validation".
    """
    weights, errors = _weighted_errors(source, target)
    return -float(np.mean(weights * errors))


def deep_embedded(source: Seen, target: Seen) -> float:
    """Return minus the weighted source error with its variance reduced (DEV); 0 is best.

    You et al. 2019, "Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation".
    """
    weights, errors = _weighted_errors(source, target)
    covariance = np.cov(weights * errors, weights)
    eta = -covariance[0, 1] / max(covariance[1, 1], 1e-12)
    return -float(np.mean(weights * errors) + eta * (np.mean(weights) - 1.0))


def a_distance(source: Seen, target: Seen) -> float:
    """Return minus the proxy A-distance of the features, from -2 to 0: 0 where the domains look alike."""
    return -proxy_a_distance(source.features, target.features)


def proxy_a_distance(source: np.ndarray, target: np.ndarray) -> float:
    """Return how well a linear classifier tells the domains apart: `2 (1 - 2 error)`, 0 (not) to 2 (always).

    The error is that of held-out examples in five folds, each domain counting half; below chance counts as 0.
    Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation".

    Args:
        source, target: features `(n, d)` and `(m, d)`, at least five examples each.
    """
    x, domain = both_domains(source, target)
    with threadpool_limits(1):  # on so few examples threads only wait for each other
        found = cross_val_score(domain_classifier(), x, domain, scoring="balanced_accuracy").mean()
    return max(0.0, 2.0 * (2.0 * float(found) - 1.0))


def _weighted_errors(source: Seen, target: Seen) -> tuple[np.ndarray, np.ndarray]:
    errors = (source.probabilities.argmax(axis=1) != source.labels).astype(float)
    return domain_ratio(source.features, target.features), errors


SCORES: dict[str, Callable[[Seen, Seen], float]] = {
    "source-accuracy": source_accuracy,
    "entropy": target_entropy,
    "snd": soft_neighborhood_density,
    "iwcv": importance_weighted,
    "dev": deep_embedded,
    "a-distance": a_distance,
}
TARGET_ALONE = ("entropy", "snd")  # these look at no source example


def check(name: str) -> str:
    """Return the name of a score, or raise UnknownNameError."""
    if name not in SCORES:
        raise UnknownNameError("score to select by", name, SCORES)
    return name
