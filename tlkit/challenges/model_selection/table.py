"""The table of scores, by their names on the command line.

This module does not import Keras, so listing the scores is fast.
"""

import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from tlkit._internal.registry import Method, Registry
from tlkit.challenges.model_selection.examples import check_examples, check_probabilities
from tlkit.errors import DataError, TlkitWarning

FEATURES, PROBABILITIES, PREDICTIONS = "features", "source probabilities", "source labels"


@dataclass(frozen=True)
class Score(Method):
    """A transferability score: `score.build(inputs, labels)` returns a float; higher is better.

    Attributes:
        needs: the kind of `inputs`: `"features"` `(n, d)`, `"source probabilities"` `(n, source classes)`, or
            `"source labels"` `(n,)`; the last two are predictions of a source head.
    """

    needs: str = FEATURES


_SCORE = partial(Score, "tlkit.challenges.model_selection")
SCORES = Registry(
    "transferability score",
    (
        _SCORE(
            "logme",
            "evidence.logme",
            "evidence of the labels under a Bayesian linear model of the features",
            "You et al. 2021",
        ),
        _SCORE(
            "leep",
            "label_conditional.leep",
            "likelihood of the labels under the source head's probabilities",
            "Nguyen et al. 2020",
            needs=PROBABILITIES,
        ),
        _SCORE(
            "nce",
            "label_conditional.nce",
            "negative conditional entropy of the labels given the predicted source classes",
            "Tran et al. 2019",
            needs=PREDICTIONS,
        ),
        _SCORE(
            "nleep",
            "label_conditional.nleep",
            "LEEP with clusters of the features as source classes",
            "Li et al. 2021",
        ),
        _SCORE(
            "h-score",
            "variance.h_score",
            "between-class variance relative to all variance",
            "Bao et al. 2019",
        ),
        _SCORE(
            "shrinkage-h-score",
            "variance.regularized_h_score",
            "H-score with a shrunk covariance, for few examples",
            "Ibrahim et al. 2022",
        ),
        _SCORE(
            "transrate",
            "variance.transrate",
            "coding rate of all features minus that within the classes",
            "Huang et al. 2022",
        ),
        _SCORE(
            "gbc", "separability.gbc", "separation of the classes as spherical Gaussians", "Pándy et al. 2022"
        ),
        _SCORE(
            "sfda",
            "separability.sfda",
            "class probability under a Fisher analysis of harder examples",
            "Shao et al. 2022",
        ),
        _SCORE(
            "parc",
            "geometry.parc",
            "rank correlation of feature distances and label distances",
            "Bolya et al. 2021",
        ),
        _SCORE(
            "linear-probe",
            "probes.linear_probe",
            "cross-validated accuracy of a linear head",
            "Alain & Bengio 2016",
        ),
        _SCORE("knn", "probes.knn", "cross-validated accuracy of nearest neighbours", "Cover & Hart 1967"),
    ),
)

DEFAULT_SCORES = ("logme", "linear-probe", "knn")  # the benchmark: these help to rank backbones, in seconds


def scores_named(names: Iterable[str] | str | None = None) -> list[str]:
    """Return names of scores as the table writes them, each once; those of `DEFAULT_SCORES` for None.

    Args:
        names: names in `SCORES`, or `"all"`.

    Raises:
        UnknownNameError: no score has this name.

    >>> scores_named(), scores_named(["KNN", "knn"]), len(scores_named("all"))
    (['logme', 'linear-probe', 'knn'], ['knn'], 12)
    """
    asked = [names] if isinstance(names, str) else list(names or DEFAULT_SCORES)
    found = [SCORES.names if name.strip().lower() == "all" else [SCORES.find(name).name] for name in asked]
    return list(dict.fromkeys(name for each in found for name in each))


def scores(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    source_probabilities: np.ndarray | None = None,
    names: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Compute several scores for one backbone, and measure the time of each.

    Args:
        features: `(n, d)` of the target examples.
        labels: integers `(n,)`.
        source_probabilities: `(n, source classes)` of the source head, if there is one; see
            `tlkit.backbones.source_head`.
        names: names in `SCORES`; all by default.

    Returns:
        A table with the index `score` and the float columns `value` and `seconds`. Both are NaN for a score
        that needs source probabilities if there are none. `value` is NaN for a score that cannot be computed
        from these examples.

    Warns:
        TlkitWarning: a score cannot be computed from these examples; the message gives the reason.

    Raises:
        DataError: the features, labels or probabilities are invalid for every score.
        UnknownNameError: no score has this name.

    >>> table = scores(np.eye(2)[np.arange(20) % 2], np.arange(20) % 2, names=["logme", "leep"])
    >>> table["value"].isna().tolist()
    [False, True]
    """
    chosen = [*SCORES] if names is None else [SCORES.find(name) for name in names]
    examples = check_examples(features, labels)
    inputs = {FEATURES: examples.features}
    if source_probabilities is not None:
        theta, _ = check_probabilities(source_probabilities, labels)
        inputs |= {PROBABILITIES: theta, PREDICTIONS: theta.argmax(axis=1)}
    rows = {score.name: _timed(score, inputs.get(score.needs), examples.classes) for score in chosen}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "seconds"], dtype="float64")
    return table.rename_axis("score")


def _timed(score: Score, inputs: np.ndarray | None, classes: np.ndarray) -> tuple[float, float]:
    if inputs is None:
        return np.nan, np.nan
    compute = score.target  # the import is not part of the measured time
    start = time.perf_counter()
    try:
        value = compute(inputs, classes, **score.options)
    except DataError as error:
        warnings.warn(f"{score.name} is left out: {error}", TlkitWarning, stacklevel=3)
        value = np.nan
    return float(value), time.perf_counter() - start
