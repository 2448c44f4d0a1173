"""Validators: scores of an adapted network that need no target labels.

Each score takes the outputs of a network for held-out source examples and for the target. Higher is better;
compare scores only on the same data. None of them reliably finds the best method: `tlkit adapt --compare`
shows two of them as information, and nothing in tlkit decides by them.
"""

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits


class Outputs(NamedTuple):
    """What a network computes for examples of a domain.

    Attributes:
        features: float32 `(n, d)`.
        probabilities: float32 `(n, classes)`.
        labels: int `(n,)` where they are known, else None.
    """

    features: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray | None = None


def source_accuracy(source: Outputs, target: Outputs) -> float:
    """Return the accuracy on held-out source examples, 0 to 1; it ignores the target."""
    return float(np.mean(source.probabilities.argmax(axis=1) == source.labels))


def target_entropy(source: Outputs, target: Outputs) -> float:
    """Return minus the mean entropy of the target's predictions, in nats; 0 is best.

    A network that predicts one class with certainty for everything fools it. Morerio et al. 2018,
    "Minimal-Entropy Correlation Alignment".
    """
    p = target.probabilities
    return float(np.mean(np.sum(p * np.log(p + 1e-12), axis=1)))


def soft_neighborhood_density(source: Outputs, target: Outputs, temperature: float = 0.05) -> float:
    """Return the soft neighbourhood density (SND), from 0 to log(n - 1): how many neighbours predict alike.

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


def importance_weighted(source: Outputs, target: Outputs) -> float:
    """Return minus the source's error, weighted to the target's density (IWCV); 0 is best.

    The weights are `p(target | x) n / (p(source | x) m)` by a linear domain classifier that did not see `x`,
    scaled to a mean of 1. Sugiyama et al. 2007, "Covariate Shift Adaptation by Importance Weighted Cross
    Validation"; Bickel et al. 2009, "Discriminative Learning Under Covariate Shift".
    """
    x, domain = both_domains(source.features, target.features)
    with threadpool_limits(1):  # on so few examples threads only wait for each other
        p = cross_val_predict(domain_classifier(), x, domain, method="predict_proba")[
            : len(source.features), 1
        ]
    ratio = p / np.maximum(1.0 - p, 1e-6)
    errors = (source.probabilities.argmax(axis=1) != source.labels).astype(float)
    return -float(np.mean(ratio / ratio.mean() * errors))


def a_distance(source: Outputs, target: Outputs) -> float:
    """Return minus the proxy A-distance of the features, from -2 to 0: 0 where the domains look alike."""
    return -proxy_a_distance(source.features, target.features)


def proxy_a_distance(source: np.ndarray, target: np.ndarray) -> float:
    """Return the proxy A-distance `2 (1 - 2 error)` of a linear domain classifier: 0 (chance) to 2 (perfect).

    The error is that of held-out examples in five folds, each domain counting half; below chance counts as 0.
    Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation".

    Args:
        source, target: features `(n, d)` and `(m, d)`, at least five examples each.
    """
    x, domain = both_domains(source, target)
    with threadpool_limits(1):
        accuracy = cross_val_score(domain_classifier(), x, domain, scoring="balanced_accuracy").mean()
    return max(0.0, 2.0 * (2.0 * float(accuracy) - 1.0))


def domain_classifier() -> Pipeline:
    """Build the linear classifier that tells the domains apart."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=200))


def both_domains(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both domains and the domain of each, 0 for the source and 1 for the target."""
    return np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)])
