"""How well the source's own answers tell the target's labels: NCE, LEEP, and NLEEP without a source head."""

import warnings

import numpy as np
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mutual_info_score
from sklearn.mixture import GaussianMixture

from tlkit.challenges.model_selection.given import (
    blocks,
    class_indices,
    class_sums,
    examples,
    row_sums,
)
from tlkit.errors import DataError, TlkitWarning

IN_CACHE = 128  # rows of probabilities that are turned to float64 at a time
EACH = 2  # examples a component, below which a mixture only counts them


def nce(source_labels: np.ndarray, labels: np.ndarray) -> float:
    """Return minus the conditional entropy of the labels given the source's predicted classes, in nats.

    `-H(Y | Z)` of the empirical joint distribution: from `-H(Y)`, at least `-log(classes)`, where the
    source's classes tell nothing, to 0, where they tell all.

    It fails with many source classes and few examples, and is 0 where each has a source class of its own. It
    sees only the largest output, not how sure the source is; `leep` sees all.

    Tran, Nguyen & Hassner 2019, "Transferability and Hardness of Supervised Classification Tasks".

    Args:
        source_labels: integers `(n,)`, what the source head names each example:
            `probabilities.argmax(axis=1)`.
        labels: integers `(n,)`, the target's.

    Raises:
        DataError: labels of another length or that are no integers, or one target class.

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
    """Return the log expected empirical prediction, in nats an example: a dummy classifier's log-likelihood.

    The classifier knows `P(y | z)`, how often label y goes with source class z in these examples, weighted by
    the source's probabilities `theta`; the value is the mean of `log sum_z P(y | z) theta(z)`. From `-H(Y)`,
    at least `-log(classes)`, where the source says the same of all examples, to 0.

    Source and target need no common class. It fails where the source head is overconfident or its classes are
    few, and it judges the head as it is, not what features below it could do. Many source classes and few
    examples flatter it.

    Nguyen, Hassner, Seeger & Archambeau 2020, "LEEP: A New Measure to Evaluate Transferability of Learned
    Representations".

    Args:
        source_probabilities: `(n, source classes)`, 0 to 1, each row with the sum 1, such as
            `tlkit.backbones.source_head(name).predict(features)`.
        labels: integers `(n,)`, the target's. A class with one example is no problem.

    Raises:
        DataError: no such probabilities, or bad labels.

    >>> round(leep(np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]), [0, 0, 1, 1]), 3)
    -0.198
    """
    theta, sums = row_sums(source_probabilities)
    classes, counts = class_indices(labels, len(theta))
    joint, told = np.zeros((len(counts), theta.shape[1])), np.empty(len(theta))
    for rows in blocks(len(theta), IN_CACHE):
        theirs = theta[rows].astype("float64")
        joint += class_sums(theirs, classes[rows], len(counts), 1 / sums[rows])
    seen = joint.sum(axis=0)
    conditional = np.divide(joint, seen, out=np.zeros_like(joint), where=seen > 0)
    for rows in blocks(len(theta), IN_CACHE):
        theirs = theta[rows].astype("float64")
        told[rows] = np.einsum("nz,nz->n", conditional[classes[rows]], theirs)
    return float(np.log(told / sums).mean())


def nleep(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    components: int | None = None,
    energy: float = 0.8,
    covariance: str = "diag",
    seed: int = 0,
) -> float:
    """Return LEEP with clusters of the features for source classes, in nats: from `-H(Y)` to 0.

    PCA, then a Gaussian mixture; an example's probabilities of the components take the place of the source
    head's. So it needs no head, and serves self-supervised backbones too. See `leep`.

    It fails with few examples: a mixture with many components and dimensions names each of them alone, and
    the value nears 0 for any features. It depends on the seed, and is slow. A class with one example is no
    problem.

    Li, Jia, Sang, Zhu, Green, Wang & Gong 2021, "Ranking Neural Checkpoints".

    Args:
        features: `(n, d)`.
        labels: integers `(n,)`.
        components: of the mixture; by default 5 for each class, at most n.
        energy: share of the variance that PCA keeps, 0 to 1.
        covariance: scikit-learn's `covariance_type`. `"full"` gives nearly the same
            where there are few examples, and at n = 3,000 took eight times as long.
        seed: of the mixture's start.

    Warns:
        TlkitWarning: fewer than two examples for each component.

    Raises:
        DataError: features or labels that no score can use; see `examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(80) % 2
    >>> features = rng.normal(size=(80, 4)) + 5 * labels[:, None]
    >>> nleep(features, labels) > nleep(features, rng.permutation(labels))
    True
    """
    given = examples(features, labels)
    n = len(given.features)
    components = min(n, components or 5 * len(given.counts))
    if n < EACH * components:
        warnings.warn(
            f"NLEEP of {n} examples and {components} clusters says little: most are a cluster alone. Give "
            "more examples, or fewer components.",
            TlkitWarning,
            stacklevel=2,
        )
    tall = n > given.features.shape[1]
    reduce = PCA(energy, svd_solver="covariance_eigh" if tall else "full")
    mixture = GaussianMixture(components, covariance_type=covariance, random_state=seed)
    with warnings.catch_warnings():
        # distinct points fewer than components, or steps that did not settle: the score is one all the same
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = mixture.fit(reduced := reduce.fit_transform(given.features)).predict_proba(reduced)
    return leep(clusters, given.classes)
