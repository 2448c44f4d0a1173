"""LogME: the evidence of the labels under a Bayesian linear model of the features."""

import numpy as np
from scipy.linalg import eigh

from tlkit.challenges.model_selection.examples import check_examples

MAX_STEPS, TOLERANCE = 200, 1e-6  # of the fixed-point iteration
SMALLEST = 1e-12  # fraction of the largest eigenvalue; anything smaller is rounding error


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Return LogME, the log maximum evidence of the labels given the features, in nats per example and class.

    For each class, the one-hot labels `y` are modelled as `y = F w + noise`, with `w ~ N(0, I / alpha)` and
    noise `N(0, 1 / beta)`. The evidence `p(y | F)` integrates over the weights, so extra dimensions do not
    win merely by fitting more. A fixed-point iteration finds the alpha and beta that maximise it:

        alpha / beta  <-  gamma |F m - y|^2 / ((n - gamma) |m|^2),   gamma = sum s / (s + alpha / beta)

    where `s` are the eigenvalues of `F'F` and `m` is the posterior mean of `w`. One eigendecomposition serves
    all classes. The value is the mean of `log p(y | F) / n` over the classes.

    The value has no fixed range. It is a log density, so it can be positive, and rare classes raise it. It is
    invariant to a common scale of the features, to rotations, and to added columns of zeros. Classes with one
    example are allowed.

    Limitations: it is misleading where a linear model of the features says little about the features after
    fine-tuning. Values are comparable only for the same examples and labels.

    You, Liu, Wang & Long 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning"; the
    fixed point: You, Liu, Zhang, Wang, Jordan & Long 2022, "Ranking and Tuning Pre-trained Models: A New
    Paradigm for Exploiting Model Hubs".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`.

    Raises:
        DataError: the features or labels are invalid; see `check_examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 3
    >>> separable, noise = np.eye(3)[labels] + rng.normal(0, 0.1, (60, 3)), rng.normal(size=(60, 3))
    >>> logme(separable, labels) > logme(noise, labels)
    True
    """
    examples = check_examples(features, labels, keep_float32=True)
    n, d = examples.features.shape
    scale = float(max(examples.features.max(), -examples.features.min()))
    wide = n <= d
    if wide:
        x = examples.features.astype("float64") / scale
        second = x @ x.T
    else:
        second, sums = examples.moments(scale=scale)
    values, vectors = eigh(second, driver="evd")
    kept = values > SMALLEST * values[-1]
    values, vectors = values[kept, None], vectors[:, kept]
    # the labels projected onto the left singular vectors of the features, and the rest of their norm
    along = vectors.T @ examples.one_hot if wide else vectors.T @ sums.T / np.sqrt(values)
    squares = np.square(along)
    outside = np.maximum(examples.counts - squares.sum(axis=0), 0.0)

    ratio = np.ones(len(examples.counts))
    for _ in range(MAX_STEPS):
        explained = values / (values + ratio)
        gamma = explained.sum(axis=0)
        length = (squares * explained**2 / values).sum(axis=0)
        residual = (squares * (ratio / (values + ratio)) ** 2).sum(axis=0) + outside
        above, below = gamma * residual, (n - gamma) * length
        before, largest = ratio, values[-1] / SMALLEST  # the limit if the features explain nothing
        ratio = np.maximum(above / np.maximum(below, above / largest), SMALLEST * values[-1])
        if (np.abs(ratio - before) <= TOLERANCE * before).all():
            break
    # the best beta for a fixed ratio has a closed form: n / y' (I + F F' / ratio)^-1 y
    noise = ((squares * ratio / (values + ratio)).sum(axis=0) + outside) / n
    evidence = -0.5 * (np.log(2 * np.pi * noise) + 1) - 0.5 * np.log1p(values / ratio).sum(axis=0) / n
    return float(evidence.mean())
