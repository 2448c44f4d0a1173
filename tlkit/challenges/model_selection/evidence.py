"""The evidence of the labels under a Bayesian linear model of the features: LogME."""

import numpy as np
from scipy.linalg import eigh

from tlkit.challenges.model_selection.given import examples

STEPS, TOLERANCE = 200, 1e-6  # of the fixed point
SMALLEST = 1e-12  # of the largest eigenvalue: below is rounding, or a ratio that changes nothing any more


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the log maximum evidence of the labels given the features, in nats an example and a class.

    For each class its one-hot labels `y` are taken as `y = F w + noise`, with `w ~ N(0, I / alpha)` and
    noise `N(0, 1 / beta)`. The evidence `p(y | F)` has the weights integrated out, so more dimensions do not
    win by fitting more; alpha and beta are those that maximise it, found by a fixed point:

        alpha / beta  <-  gamma |F m - y|^2 / ((n - gamma) |m|^2),   gamma = sum s / (s + alpha / beta)

    with `s` the eigenvalues of `F'F` and `m` the posterior mean of `w`. One eigendecomposition serves all
    classes. The value is the mean of `log p(y | F) / n` over the classes.

    It has no fixed range, and may be above 0 since it is a density; rare classes give higher values. So only
    values of the same examples and labels can be compared. It does not change when all features are
    multiplied by a number or rotated, nor with columns of zeros. It fails where a linear model of the
    features says little about what fine-tuning makes of them. A class with one example is no problem.

    You, Liu, Wang & Long 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning"; the
    fixed point: You, Liu, Zhang, Wang, Jordan & Long 2022, "Ranking and Tuning Pre-trained Models: A New
    Paradigm for Exploiting Model Hubs".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`.

    Raises:
        DataError: features or labels that no score can use; see `examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 3
    >>> separable, noise = np.eye(3)[labels] + rng.normal(0, 0.1, (60, 3)), rng.normal(size=(60, 3))
    >>> logme(separable, labels) > logme(noise, labels)
    True
    """
    given = examples(features, labels, single=True)
    n, d = given.features.shape
    scale = float(max(given.features.max(), -given.features.min()))
    wide = n <= d
    if wide:
        x = given.features.astype("float64") / scale
        second = x @ x.T
    else:
        second, sums = given.moments(scale=scale)
    values, vectors = eigh(second, driver="evd")
    kept = values > SMALLEST * values[-1]
    values, vectors = values[kept, None], vectors[:, kept]
    # the labels along the left singular vectors of the features, and what is left of them outside
    along = vectors.T @ given.one_hot if wide else vectors.T @ sums.T / np.sqrt(values)
    squares = np.square(along)
    outside = np.maximum(given.counts - squares.sum(axis=0), 0.0)

    ratio = np.ones(len(given.counts))
    for _ in range(STEPS):
        explained = values / (values + ratio)
        gamma = explained.sum(axis=0)
        length = (squares * explained**2 / values).sum(axis=0)
        residual = (squares * (ratio / (values + ratio)) ** 2).sum(axis=0) + outside
        above, below = gamma * residual, (n - gamma) * length
        before, largest = ratio, values[-1] / SMALLEST  # reached where the features explain nothing
        ratio = np.maximum(above / np.maximum(below, above / largest), SMALLEST * values[-1])
        if (np.abs(ratio - before) <= TOLERANCE * before).all():
            break
    # for a given ratio the best beta is known: n / y' (I + F F' / ratio)^-1 y
    noise = ((squares * ratio / (values + ratio)).sum(axis=0) + outside) / n
    evidence = -0.5 * (np.log(2 * np.pi * noise) + 1) - 0.5 * np.log1p(values / ratio).sum(axis=0) / n
    return float(evidence.mean())
