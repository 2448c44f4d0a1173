"""The scores by the names of the command line: one line each.

Nothing here imports Keras, so that a list of scores costs nothing.
"""

import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from tlkit._internal.registry import Method, Registry
from tlkit.challenges.model_selection.given import check_probabilities, examples
from tlkit.errors import DataError, TlkitWarning

FEATURES, PROBABILITIES, PREDICTIONS = "features", "source probabilities", "source labels"


@dataclass(frozen=True)
class Score(Method):
    """A transferability score: `build(given, labels)` is its value, a float, higher is better.

    Attributes:
        needs: what is given to it beside the labels: `"features"` `(n, d)`, a source head's
            `"source probabilities"` `(n, source classes)`, or its `"source labels"` `(n,)`.
    """

    needs: str = FEATURES


_SCORE = partial(Score, "tlkit.challenges.model_selection")
SCORES = Registry(
    "transferability score",
    (
        _SCORE("logme", "evidence.logme", "evidence of the labels under a linear model", "You et al. 2021"),
        _SCORE(
            "leep",
            "label_conditional.leep",
            "labels told from the source's probabilities",
            "Nguyen et al. 2020",
            needs=PROBABILITIES,
        ),
        _SCORE(
            "nce",
            "label_conditional.nce",
            "labels told from the source's predicted classes",
            "Tran et al. 2019",
            needs=PREDICTIONS,
        ),
        _SCORE("nleep", "label_conditional.nleep", "labels told from clusters of features", "Li et al. 2021"),
        _SCORE(
            "h-score", "variance.h_score", "variance between classes against all variance", "Bao et al. 2019"
        ),
        _SCORE(
            "shrinkage-h-score",
            "variance.regularized_h_score",
            "the same with a covariance that few examples allow",
            "Ibrahim et al. 2022",
        ),
        _SCORE(
            "transrate", "variance.transrate", "code length of all against each class", "Huang et al. 2022"
        ),
        _SCORE("gbc", "separability.gbc", "overlap of the classes as round Gaussians", "Pándy et al. 2022"),
        _SCORE(
            "sfda", "separability.sfda", "Fisher discriminants of examples made harder", "Shao et al. 2022"
        ),
        _SCORE("parc", "geometry.parc", "examples near where their labels are the same", "Bolya et al. 2021"),
        _SCORE(
            "linear-probe", "probes.linear_probe", "held-out accuracy of a linear head", "Alain & Bengio 2016"
        ),
        _SCORE("knn", "probes.knn", "held-out accuracy of nearest neighbours", "Cover & Hart 1967"),
    ),
)


def scores(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    source_probabilities: np.ndarray | None = None,
    names: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return the value of each score, and the seconds that it took.

    Args:
        features: `(n, d)` of the target's examples.
        labels: integers `(n,)`.
        source_probabilities: `(n, source classes)` of the source head, if there is one; see
            `tlkit.backbones.source_head`.
        names: of `SCORES`; by default all.

    Returns:
        A table with an index `score` and float columns `value` and `seconds`; NaN in both for a score that
        needs source probabilities where there are none, and in `value` for one that these examples do not
        allow.

    Warns:
        TlkitWarning: names a score that these examples do not allow, and why.

    Raises:
        DataError: features, labels or probabilities that no score can use.
        UnknownNameError: a name that is no score's.

    >>> table = scores(np.eye(2)[np.arange(20) % 2], np.arange(20) % 2, names=["logme", "leep"])
    >>> table["value"].isna().tolist()
    [False, True]
    """
    chosen = [*SCORES] if names is None else [SCORES.find(name) for name in names]
    checked = examples(features, labels)
    given = {FEATURES: checked.features}
    if source_probabilities is not None:
        theta, _ = check_probabilities(source_probabilities, labels)
        given |= {PROBABILITIES: theta, PREDICTIONS: theta.argmax(axis=1)}
    rows = {score.name: _timed(score, given.get(score.needs), checked.classes) for score in chosen}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "seconds"], dtype="float64")
    return table.rename_axis("score")


def _timed(score: Score, given: np.ndarray | None, classes: np.ndarray) -> tuple[float, float]:
    if given is None:
        return np.nan, np.nan
    compute = score.target  # imported before the clock starts
    start = time.perf_counter()
    try:
        value = compute(given, classes, **score.options)
    except DataError as error:
        warnings.warn(f"{score.name} is left out: {error}", TlkitWarning, stacklevel=3)
        value = np.nan
    return float(value), time.perf_counter() - start
