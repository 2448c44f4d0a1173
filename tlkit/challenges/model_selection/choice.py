"""Choosing one of several backbones: accuracy against speed, and the one-standard-error rule."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

PROBE, SPEED = "linear-probe", "images per second"  # the columns that decide


def recommend(table: pd.DataFrame, standard_error: float) -> str:
    """Return the fastest pretrained backbone within one standard error of the best linear probe.

    Within one standard error these examples cannot rank the backbones, so speed decides. A backbone with
    random weights is a control; it is recommended only if the table has no pretrained backbone.

    Breiman, Friedman, Olshen & Stone 1984, "Classification and Regression Trees", for the one-standard-error
    rule.

    Args:
        table: one row per candidate, with the columns `backbone`, `images per second`, `linear-probe`
            (accuracy, 0 to 1), and `random` (True for random weights).
        standard_error: standard error of the best accuracy, 0 to 1.

    >>> rows = {"backbone": ["a", "b"], "linear-probe": [0.80, 0.79], "images per second": [10.0, 20.0]}
    >>> table = pd.DataFrame(rows | {"random": [False, False]})
    >>> recommend(table, 0.02), recommend(table, 0.005)
    ('b', 'a')
    """
    eligible = table if table["random"].all() else table[~table["random"]]
    near = eligible[eligible[PROBE] >= eligible[PROBE].max() - standard_error]
    return str(near.loc[near[SPEED].idxmax(), "backbone"])


def pareto_optimal(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    """Return which of n options are Pareto-optimal under two criteria; higher is better for both.

    An option is Pareto-optimal if no other option is at least as good in both criteria and better in one.

    Args:
        first, second: values of the two criteria, `(n,)`.

    Returns:
        bool `(n,)`.

    >>> pareto_optimal([1, 2, 3, 3], [9, 5, 5, 4]).tolist()
    [True, False, True, False]
    """
    values = np.column_stack([np.asarray(first, float), np.asarray(second, float)])
    as_good = (values[:, None] >= values).all(axis=2)
    better = (values[:, None] > values).any(axis=2)
    return np.logical_not((as_good & better).any(axis=0))
