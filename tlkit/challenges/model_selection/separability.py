"""How little the classes overlap: as Gaussians (GBC), and in a Fisher space made harder (SFDA)."""

import warnings

import numpy as np
from scipy.linalg import eigh, solve
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.decomposition import PCA

from tlkit.challenges.model_selection.given import examples
from tlkit.errors import TlkitWarning

FLOOR = 1e-4  # of the mean variance: a class that is one point has no distance otherwise
LEAST_SHRINKAGE = 1e-10  # of SFDA, as in the authors' code
SMALLEST = 1e-12  # of the mean variance, on the diagonal of a covariance that is inverted
TOO_LITTLE = 1e-4  # shrinkage that leaves a singular covariance near singular


def gbc(features: np.ndarray, labels: np.ndarray, *, dimensions: int | None = 64) -> float:
    """Return minus the summed Bhattacharyya coefficients of the classes as round Gaussians; 0 is best.

    `-sum exp(-D(i, j))` over all ordered pairs of classes, where for means `m` and variances `v`, each one
    number,

        D = |m_i - m_j|^2 / (8 v) + d / 2 log(v / sqrt(v_i v_j)),   v = (v_i + v_j) / 2

    From `-classes (classes - 1)`, where all classes have the same Gaussian, to 0, where none overlap.
    Rotations of the features and their common scale do not change it.

    It fails where classes are long or have several parts, which a round Gaussian does not see. In many
    dimensions it is 0 to all digits for every good backbone, which PCA puts off.

    Pándy, Agostinelli, Uijlings, Ferrari & Mensink 2022, "Transferability Estimation using Bhattacharyya
    Class Separability".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`, at least two examples a class, since one has no variance.
        dimensions: that PCA leaves, as in the paper; None for no PCA.

    Raises:
        DataError: features or labels that no score can use, or a class with one example; see `examples`.

    >>> labels = np.array([0, 0, 1, 1])
    >>> apart, mixed = np.array([[0.0], [0.1], [9.0], [9.1]]), np.array([[0.0], [1.0], [0.0], [1.0]])
    >>> round(gbc(apart, labels), 3) == 0, gbc(mixed, labels)
    (True, -2.0)
    """
    given = examples(features, labels, least=2)
    x = given.features - given.features.mean(axis=0)
    if dimensions is not None and dimensions < min(x.shape):
        x = PCA(dimensions, svd_solver="covariance_eigh" if len(x) > x.shape[1] else "full").fit_transform(x)
    one_hot, d = given.one_hot, x.shape[1]
    means = one_hot.T @ x / given.counts[:, None]
    spread = one_hot.T @ np.square(x - means[given.classes]) / given.counts[:, None]
    variances = np.maximum(spread.mean(axis=1), FLOOR * np.square(x).mean())
    both = (variances[:, None] + variances) / 2
    distances = cdist(means, means, "sqeuclidean") / (8 * both)
    distances += d / 2 * np.log(both / np.sqrt(np.outer(variances, variances)))
    np.fill_diagonal(distances, np.inf)
    return -float(np.exp(-distances).sum())


def sfda(features: np.ndarray, labels: np.ndarray) -> float:
    """Return SFDA, the mean probability of the right class in a Fisher space made harder, 0 to 1.

    Three steps. A Fisher discriminant analysis gives each example its class probabilities; the covariance
    within classes is shrunk by `exp(-5 s)`, `s` its largest eigenvalue. Then each example is moved towards
    the mean of the other classes, the more the less sure its own class is, as fine-tuning would meet hard
    examples. The analysis of these, with the same shrinkage, has the probabilities that are averaged.

    Random labels have about 1 / classes where n is well above d. Rotations do not change it, but the scale of
    the features does, by way of the shrinkage. It fails with few examples: they are the ones that the
    analysis has seen, and with n below d and little shrinkage it knows all of them. A class with one example
    is no problem, but flatters it.

    Shao, Zhao, Ge, Zhang, Yang, Wang, Shan & Luo 2022, "Not All Models Are Equal: Predicting Model
    Transferability in a Self-challenging Fisher Space". As in the authors' code the probability that moves an
    example goes through a softmax once more, and the mean is of probabilities and not of their logarithms.

    Args:
        features: `(n, d)`.
        labels: integers `(n,)`.

    Warns:
        TlkitWarning: fewer examples than features, and too little shrinkage to make up for it.

    Raises:
        DataError: features or labels that no score can use; see `examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(90) % 3
    >>> features = np.eye(3)[labels] + rng.normal(0, 0.3, (90, 3))
    >>> sfda(features, labels) > sfda(features, rng.permutation(labels))
    True
    """
    given = examples(features, labels)
    x, classes = given.features, given.classes
    (n, d), k = x.shape, len(given.counts)
    means = given.class_means
    within = x - means[classes]
    gram = within.T @ within if n > d else within @ within.T
    (largest,) = eigh(gram / n, eigvals_only=True, subset_by_index=[len(gram) - 1] * 2)
    shrinkage = max(float(np.exp(-5 * largest)), LEAST_SHRINKAGE)
    if n - k < d and shrinkage < TOO_LITTLE:
        warnings.warn(
            f"SFDA of {n} examples with {d} features, shrunk by only {shrinkage:.0e}, is high whatever the "
            "labels. Divide the features by a number, or give more examples.",
            TlkitWarning,
            stacklevel=2,
        )
    sure = softmax(_fisher_probabilities(x, classes, shrinkage), axis=1)[np.arange(n), classes, None]
    others = (means.sum(axis=0) - means) / (k - 1)
    harder = sure * x + (1 - sure) * others[classes]
    return float(_fisher_probabilities(harder, classes, shrinkage)[np.arange(n), classes].mean())


def _fisher_probabilities(x: np.ndarray, classes: np.ndarray, shrinkage: float) -> np.ndarray:
    """Return each row's class probabilities under the discriminant analysis of these same rows.

    The projections that solve `S_b u = l S_w u` make `S_w` the identity, so all of them together give the
    distances that the inverse of `S_w` gives. scikit-learn's analysis with this shrinkage is the same (a test
    holds them equal), but its least squares took three to fifteen times as long at d = 1,280.
    """
    counts = np.bincount(classes)
    means = np.eye(len(counts))[classes].T @ x / counts[:, None]
    centred = x - means[classes]
    covariance = (1 - shrinkage) * (centred.T @ centred) / len(x)
    floor = SMALLEST * np.square(x - x.mean(axis=0)).mean()  # where each class is one point
    diagonal = np.einsum("ii->i", covariance)
    diagonal += max(shrinkage * np.square(centred).mean(), floor)
    weights = solve(covariance, means.T, assume_a="sym")
    biases = np.log(counts / len(x)) - 0.5 * np.sum(means.T * weights, axis=0)
    return softmax(x @ weights + biases, axis=1)
