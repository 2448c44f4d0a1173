"""Find the labels that are likely wrong, by confident learning."""

import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from tlkit.experiments.audit.cross_validation import Predictions

# Tuned on flipped labels of emoji and clothing, where it had the best F1 score of cleanlab's seven filters.
FILTER = "low_self_confidence"


def label_errors(found: Predictions | None) -> pd.DataFrame:
    """Return the images whose label is likely wrong, the least probable label first.

    Confident learning estimates how many labels are wrong. It counts the images whose probability of another
    class is at least the mean probability of that class over the images that are labelled with it. The same
    number of images with the least probable labels are returned, without those whose label is also the
    prediction.

    Northcutt, Jiang & Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels".

    Args:
        found: of `cross_validate`; None if too few classes have enough images.

    Returns:
        A table with one row per image: `row`, `label` and `suggested` (class indices), `score` (the
        probability of the label, 0 to 1) and `probability` (of the suggested class). It is empty if there are
        no predictions, or if their accuracy is not significantly above that of predicting the largest class.

    >>> import numpy as np
    >>> labels, truth = np.repeat([0, 1], 50), np.repeat([0, 1], 50)
    >>> labels[0] = 1  # wrong on purpose
    >>> probabilities = np.array([[0.9, 0.1], [0.1, 0.9]])[truth]
    >>> label_errors(Predictions(np.arange(100), np.arange(2), labels, probabilities, 0.01))
       row  label  suggested  score  probability
    0    0      1          0    0.1          0.9
    """
    if found is None or not found.informative:
        return pd.DataFrame(columns=["row", "label", "suggested", "score", "probability"])
    likely = find_label_issues(found.labels, found.probabilities, filter_by=FILTER, n_jobs=1) & ~found.right
    table = pd.DataFrame(
        {
            "row": found.rows,
            "label": found.classes[found.labels],
            "suggested": found.classes[found.predicted],
            "score": get_label_quality_scores(found.labels, found.probabilities),
            "probability": found.probabilities.max(axis=1),
        }
    )
    return table[likely].sort_values("score", kind="stable").reset_index(drop=True)
