"""Scores from the predictions of a source head: NCE, LEEP, and NLEEP, which needs no source head."""

import warnings

import numpy as np
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mutual_info_score
from sklearn.mixture import GaussianMixture

from tlkit.challenges.model_selection.examples import (
    blocks,
    check_examples,
    class_indices,
    class_sums,
    row_sums,
)
from tlkit.errors import DataError, TlkitWarning

ROWS_IN_CACHE = 128  # rows of probabilities that are converted to float64 at a time
MIN_PER_COMPONENT = 2  # examples; with fewer, most components of the mixture hold one example


def nce(source_labels: np.ndarray, labels: np.ndarray) -> float:
    """Return NCE, the negative conditional entropy of the labels given the predicted source classes, in nats.

    NCE is `-H(Y | Z)` under the empirical joint distribution. Its minimum is `-H(Y)`, at least
    `-log(classes)`, where the source classes say nothing about the labels; its maximum is 0, where they
    determine the labels.

    Limitations: with many source classes and few examples it is too high; it is 0 if each example has a
    source class of its own. It uses only the most probable source class; `leep` uses all probabilities.

    Tran, Nguyen & Hassner 2019, "Transferability and Hardness of Supervised Classification Tasks".

    Args:
        source_labels: integers `(n,)`, the source class that the source head predicts for each example:
            `probabilities.argmax(axis=1)`.
        labels: integers `(n,)`, target classes.

    Raises:
        DataError: the labels are not integers of the same length, or there is only one target class.

    >>> labels = np.array([0, 0, 1, 1])
    >>> nce(np.array([7, 7, 3, 3]), labels), round(nce(np.array([5, 5, 5, 5]), labels), 3)
    (0.0, -0.693)
    """
    sources = np.asarray(source_labels)
    if sources.ndim != 1 or sources.dtype.kind not in "iub":
        raise DataError(
            f"Source labels of shape {sources.shape} and type {sources.dtype} were given; expected integers "
            "(n,), such as probabilities.argmax(axis=1)."
        )
    classes, counts = class_indices(labels, len(sources))
    return min(0.0, float(mutual_info_score(classes, sources) - entropy(counts)))


def leep(source_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return LEEP, the mean log-likelihood of the labels under the source head's predictions, in nats.

    LEEP stands for log expected empirical prediction. `P(y | z)` is how often label y occurs with source
    class z in these examples, weighted by the source probabilities `theta`. The value is the mean over the
    examples of `log sum_z P(y | z) theta(z)`. Its minimum is `-H(Y)`, at least `-log(classes)`, where the
    source head predicts the same for all examples; its maximum is 0.

    Source and target need not have a class in common. Target classes with one example are allowed.

    Limitations: it is unreliable if the source head is overconfident or has few classes. It evaluates the
    head, and not what the features below it could do. With many source classes and few examples it is too
    high.

    Nguyen, Hassner, Seeger & Archambeau 2020, "LEEP: A New Measure to Evaluate Transferability of Learned
    Representations".

    Args:
        source_probabilities: `(n, source classes)`, 0 to 1, such as
            `tlkit.backbones.source_head(name).predict(features)`; each row sums to 1.
        labels: integers `(n,)`, target classes.

    Raises:
        DataError: the probabilities or labels are invalid; see `check_probabilities`.

    >>> round(leep(np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]), [0, 0, 1, 1]), 3)
    -0.198
    """
    theta, sums = row_sums(source_probabilities)
    classes, counts = class_indices(labels, len(theta))
    joint, likelihood = np.zeros((len(counts), theta.shape[1])), np.empty(len(theta))
    for rows in blocks(len(theta), ROWS_IN_CACHE):
        block = theta[rows].astype("float64")
        joint += class_sums(block, classes[rows], len(counts), 1 / sums[rows])
    marginal = joint.sum(axis=0)
    conditional = np.divide(joint, marginal, out=np.zeros_like(joint), where=marginal > 0)
    for rows in blocks(len(theta), ROWS_IN_CACHE):
        block = theta[rows].astype("float64")
        likelihood[rows] = np.einsum("nz,nz->n", conditional[classes[rows]], block)
    return float(np.log(likelihood / sums).mean())


def nleep(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    components: int | None = None,
    energy: float = 0.8,
    covariance: str = "diag",
    seed: int = 0,
) -> float:
    """Return NLEEP: LEEP with clusters of the features in place of source classes, in nats, `-H(Y)` to 0.

    PCA reduces the features, and a Gaussian mixture gives each example its probabilities of the components.
    These replace the probabilities of a source head, so NLEEP also applies to self-supervised backbones.
    See `leep`. Classes with one example are allowed.

    Limitations: with few examples, a mixture with many components and dimensions gives each example a
    component of its own, and the value approaches 0 for any features. It depends on the seed, and is slow.

    Li, Jia, Sang, Zhu, Green, Wang & Gong 2021, "Ranking Neural Checkpoints".

    Args:
        features: `(n, d)`.
        labels: integers `(n,)`.
        components: of the mixture; by default 5 per class, at most n.
        energy: fraction of the variance that PCA keeps, 0 to 1.
        covariance: scikit-learn's `covariance_type`. With few examples `"full"` gives nearly the same value;
            at n = 3,000 it took eight times as long.
        seed: random seed for the mixture's initialisation.

    Warns:
        TlkitWarning: there are fewer than two examples per component.

    Raises:
        DataError: the features or labels are invalid; see `check_examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(80) % 2
    >>> features = rng.normal(size=(80, 4)) + 5 * labels[:, None]
    >>> nleep(features, labels) > nleep(features, rng.permutation(labels))
    True
    """
    examples = check_examples(features, labels)
    n = len(examples.features)
    components = min(n, components or 5 * len(examples.counts))
    if n < MIN_PER_COMPONENT * components:
        warnings.warn(
            f"NLEEP with {n} examples and {components} clusters is unreliable: most clusters hold one "
            "example. Use more examples or fewer components.",
            TlkitWarning,
            stacklevel=2,
        )
    tall = n > examples.features.shape[1]
    pca = PCA(energy, svd_solver="covariance_eigh" if tall else "full")
    mixture = GaussianMixture(components, covariance_type=covariance, random_state=seed)
    with warnings.catch_warnings():
        # too few distinct points, or no convergence: the probabilities are valid all the same
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = mixture.fit(reduced := pca.fit_transform(examples.features)).predict_proba(reduced)
    return leep(clusters, examples.classes)
