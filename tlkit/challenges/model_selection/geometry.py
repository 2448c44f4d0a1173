"""Whether examples are near each other where their labels are: PARC."""

import numpy as np
from scipy.stats import spearmanr
from sklearn.preprocessing import StandardScaler, normalize

from tlkit.challenges.model_selection.given import examples
from tlkit.errors import DataError


def parc(features: np.ndarray, labels: np.ndarray, *, most: int = 2000, seed: int = 0) -> float:
    """Return PARC, the rank correlation of distances between features and between labels, -1 to 1.

    Each feature is standardised over the examples; the distance of two examples is 1 minus the Pearson
    correlation of their feature vectors, and likewise of their one-hot labels, over all pairs. Spearman's
    correlation of the two is near 0 for labels without meaning. Labels have only two distances, so features
    that have many reach at most `sqrt(3 (k - 1)) / k` for k classes of one size: 0.87 for two, 0.52 for ten.

    It does not change when features are multiplied by positive numbers, or shifted; rotations change it. It
    fails where a linear map would find the classes that raw distances do not show.

    Bolya, Mittapalli & Hoffman 2021, "Scalable Diverse Model Selection for Accessible Transfer Learning" (who
    give it times 100).

    Args:
        features: `(n, d)`, d at least 2; n may be below d.
        labels: integers `(n,)`, of at least one class two examples.
        most: examples that are compared; of more, a part is drawn in which every class keeps its share.
        seed: of that draw.

    Raises:
        DataError: features or labels that no score can use (see `examples`), one feature only, or no two
        examples
            of a class.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(40) % 2
    >>> features = np.eye(2)[labels] + rng.normal(0, 0.1, (40, 2))
    >>> parc(features, labels) > 0.8
    True
    """
    given = examples(features, labels)
    if given.features.shape[1] < 2:
        raise DataError(
            "PARC correlates the features of two examples, and 1 feature has no correlation. Give 2 or more."
        )
    if given.counts.max() < 2:
        raise DataError(
            "Every class has one example, so all labels are equally far apart. Give more examples."
        )
    given = given.sample(most, seed)
    standard = StandardScaler().fit_transform(given.features)
    unit = normalize(standard - standard.mean(axis=1, keepdims=True))
    pairs = np.triu_indices(len(unit), 1)
    # of one-hot labels the correlation is 1 for a pair of one class, and one other value for all other pairs
    differ = given.classes[pairs[0]] != given.classes[pairs[1]]
    return float(spearmanr(1 - (unit @ unit.T)[pairs], differ).statistic)
