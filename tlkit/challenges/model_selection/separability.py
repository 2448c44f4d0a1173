"""How well the classes separate: as spherical Gaussians (GBC), and by Fisher discriminant analysis (SFDA)."""

import warnings

import numpy as np
from scipy.linalg import eigh, solve
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.decomposition import PCA

from tlkit.challenges.model_selection.examples import check_examples
from tlkit.errors import TlkitWarning

MIN_VARIANCE = 1e-4  # fraction of the mean variance; a class of identical points needs a positive variance
MIN_SHRINKAGE = 1e-10  # of SFDA, as in the authors' code
MIN_DIAGONAL = 1e-12  # fraction of the mean variance, for a covariance that is inverted
WEAK_SHRINKAGE = 1e-4  # below this, a singular covariance stays nearly singular


def gbc(features: np.ndarray, labels: np.ndarray, *, dimensions: int | None = 64) -> float:
    """Return GBC, minus the sum of the Bhattacharyya coefficients of all class pairs; 0 is the best value.

    Each class is modelled as a spherical Gaussian with mean `m` and one variance `v`. The value is
    `-sum exp(-D(i, j))` over all ordered pairs of classes, with the Bhattacharyya distance

        D = |m_i - m_j|^2 / (8 v) + d / 2 log(v / sqrt(v_i v_j)),   v = (v_i + v_j) / 2

    The minimum is `-classes (classes - 1)`, where all classes have the same Gaussian; the maximum is 0, where
    no two classes overlap. Rotations and a common scale of the features do not change the value.

    Limitations: a spherical Gaussian misrepresents elongated classes and classes with several clusters. In
    many dimensions every good backbone has a value that rounds to 0; PCA reduces this effect.

    Pándy, Agostinelli, Uijlings, Ferrari & Mensink 2022, "Transferability Estimation using Bhattacharyya
    Class Separability".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`, at least two examples per class, because one example has no variance.
        dimensions: number of principal components to keep, as in the paper; None for no PCA.

    Raises:
        DataError: the features or labels are invalid, or a class has one example; see `check_examples`.

    >>> labels = np.array([0, 0, 1, 1])
    >>> apart, mixed = np.array([[0.0], [0.1], [9.0], [9.1]]), np.array([[0.0], [1.0], [0.0], [1.0]])
    >>> round(gbc(apart, labels), 3) == 0, gbc(mixed, labels)
    (True, -2.0)
    """
    examples = check_examples(features, labels, min_per_class=2)
    x = examples.features - examples.features.mean(axis=0)
    if dimensions is not None and dimensions < min(x.shape):
        x = PCA(dimensions, svd_solver="covariance_eigh" if len(x) > x.shape[1] else "full").fit_transform(x)
    one_hot, d = examples.one_hot, x.shape[1]
    means = one_hot.T @ x / examples.counts[:, None]
    spread = one_hot.T @ np.square(x - means[examples.classes]) / examples.counts[:, None]
    variances = np.maximum(spread.mean(axis=1), MIN_VARIANCE * np.square(x).mean())
    both = (variances[:, None] + variances) / 2
    distances = cdist(means, means, "sqeuclidean") / (8 * both)
    distances += d / 2 * np.log(both / np.sqrt(np.outer(variances, variances)))
    np.fill_diagonal(distances, np.inf)
    return -float(np.exp(-distances).sum())


def sfda(features: np.ndarray, labels: np.ndarray) -> float:
    """Return SFDA, the mean probability of the correct class in a self-challenging Fisher space, 0 to 1.

    There are three steps. First, Fisher discriminant analysis gives each example its class probabilities; the
    within-class covariance is shrunk by `exp(-5 s)`, where `s` is its largest eigenvalue. Second, each
    example moves towards the mean of the other classes, by more if its own class is less probable; this
    imitates the hard examples of fine-tuning. Third, the same analysis of the moved examples gives the
    probabilities that are averaged.

    Random labels score about 1 / classes if n is well above d. Rotations do not change the value, but the
    scale of the features does, because the shrinkage depends on it. Classes with one example are allowed.

    Limitations: with few examples it is too high, because the analysis is evaluated on its own training
    examples; if n is below d and the shrinkage is weak, it fits all of them. Classes with one example raise
    it.

    Shao, Zhao, Ge, Zhang, Yang, Wang, Shan & Luo 2022, "Not All Models Are Equal: Predicting Model
    Transferability in a Self-challenging Fisher Space". As in the authors' code, the probability that moves
    an example passes through a second softmax, and the mean is over probabilities and not over
    log-probabilities.

    Args:
        features: `(n, d)`.
        labels: integers `(n,)`.

    Warns:
        TlkitWarning: there are fewer examples than features, and the shrinkage is too weak to compensate.

    Raises:
        DataError: the features or labels are invalid; see `check_examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(90) % 3
    >>> features = np.eye(3)[labels] + rng.normal(0, 0.3, (90, 3))
    >>> sfda(features, labels) > sfda(features, rng.permutation(labels))
    True
    """
    examples = check_examples(features, labels)
    x, classes = examples.features, examples.classes
    (n, d), k = x.shape, len(examples.counts)
    means = examples.class_means
    within = x - means[classes]
    gram = within.T @ within if n > d else within @ within.T
    (largest,) = eigh(gram / n, eigvals_only=True, subset_by_index=[len(gram) - 1] * 2)
    shrinkage = max(float(np.exp(-5 * largest)), MIN_SHRINKAGE)
    if n - k < d and shrinkage < WEAK_SHRINKAGE:
        warnings.warn(
            f"SFDA of {n} examples with {d} features and a shrinkage of only {shrinkage:.0e} is high for any "
            "labels. Divide the features by a constant, or use more examples.",
            TlkitWarning,
            stacklevel=2,
        )
    confidence = softmax(_fisher_probabilities(x, classes, shrinkage), axis=1)[np.arange(n), classes, None]
    others = (means.sum(axis=0) - means) / (k - 1)
    harder = confidence * x + (1 - confidence) * others[classes]
    return float(_fisher_probabilities(harder, classes, shrinkage)[np.arange(n), classes].mean())


def _fisher_probabilities(x: np.ndarray, classes: np.ndarray, shrinkage: float) -> np.ndarray:
    """Return the class probabilities of each row under the discriminant analysis of these same rows.

    The projections that solve `S_b u = l S_w u` turn `S_w` into the identity. All of them together therefore
    give the same distances as the inverse of `S_w`. scikit-learn's LinearDiscriminantAnalysis with this
    shrinkage is equivalent, as a test checks, but its least-squares solver took three to fifteen times as
    long at d = 1,280.
    """
    counts = np.bincount(classes)
    means = np.eye(len(counts))[classes].T @ x / counts[:, None]
    centred = x - means[classes]
    covariance = (1 - shrinkage) * (centred.T @ centred) / len(x)
    floor = MIN_DIAGONAL * np.square(x - x.mean(axis=0)).mean()  # matters if each class is a single point
    diagonal = np.einsum("ii->i", covariance)
    diagonal += max(shrinkage * np.square(centred).mean(), floor)
    weights = solve(covariance, means.T, assume_a="sym")
    biases = np.log(counts / len(x)) - 0.5 * np.sum(means.T * weights, axis=0)
    return softmax(x @ weights + biases, axis=1)
