"""PARC: whether examples with the same label also have similar features."""

import numpy as np
from scipy.stats import spearmanr
from sklearn.preprocessing import StandardScaler, normalize

from tlkit.challenges.model_selection.examples import check_examples
from tlkit.errors import DataError


def parc(features: np.ndarray, labels: np.ndarray, *, max_examples: int = 2000, seed: int = 0) -> float:
    """Return PARC, the rank correlation between feature distances and label distances, -1 to 1.

    Each feature is standardised over the examples. The distance between two examples is 1 minus the Pearson
    correlation of their feature vectors; the distance between labels uses their one-hot vectors in the same
    way. The value is Spearman's correlation of the two distances over all pairs. It is near 0 for random
    labels. Label distances have only two values, so the maximum is `sqrt(3 (k - 1)) / k` for k classes of
    equal size: 0.87 for two classes, 0.52 for ten.

    The value is invariant to a shift and a positive scale of each feature; rotations change it.

    Limitations: it underrates features whose classes a linear map can separate although the raw distances do
    not show them.

    Bolya, Mittapalli & Hoffman 2021, "Scalable Diverse Model Selection for Accessible Transfer Learning"
    (they report 100 times this value).

    Args:
        features: `(n, d)`, d at least 2; n may be below d.
        labels: integers `(n,)`; at least one class needs two examples.
        max_examples: if there are more examples, a random sample of this size with the same class proportions
            is used.
        seed: random seed for this sample.

    Raises:
        DataError: the features or labels are invalid (see `check_examples`), there is only one feature, or
            every class has one example.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(40) % 2
    >>> features = np.eye(2)[labels] + rng.normal(0, 0.1, (40, 2))
    >>> parc(features, labels) > 0.8
    True
    """
    examples = check_examples(features, labels)
    if examples.features.shape[1] < 2:
        raise DataError(
            "PARC correlates the feature vectors of two examples, and 1 feature has no correlation. Use 2 or "
            "more features."
        )
    if examples.counts.max() < 2:
        raise DataError("Every class has one example, so all labels are equally far apart. Add examples.")
    examples = examples.sample(max_examples, seed)
    standard = StandardScaler().fit_transform(examples.features)
    unit = normalize(standard - standard.mean(axis=1, keepdims=True))
    pairs = np.triu_indices(len(unit), 1)
    # one-hot labels have correlation 1 within a class, and the same lower value for all other pairs
    differ = examples.classes[pairs[0]] != examples.classes[pairs[1]]
    return float(spearmanr(1 - (unit @ unit.T)[pairs], differ).statistic)
