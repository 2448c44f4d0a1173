"""Choosing one of several backbones: accuracy against cost, and the one-standard-error rule."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

PROBE, SPEED = "linear-probe", "images per second"  # the columns that decide
SLOWEST, FASTEST = "slowest timing", "fastest timing"  # of the repeated timings, in images per second
MULTIPLY_ADDS, PARAMETERS = "multiply-adds", "parameters"  # the costs that decide where the speed cannot
SURPRISE = 1.5  # factor by which a backbone that costs more in both ways must be faster to count as faster


def recommend(table: pd.DataFrame, standard_error: float) -> str:
    """Return the cheapest pretrained backbone within one standard error of the best linear probe.

    Within one standard error these examples cannot rank the backbones, so the cost decides:

    1. A backbone is excluded if another one is clearly faster: the slowest timing of the faster one
       beats the fastest timing of the slower one. See `clearly_faster`.
    2. Of the rest, whose speeds the timings cannot tell apart, the one with the fewest multiply-adds wins,
       then the one with the fewest parameters, then the most accurate one.

    A backbone with random weights is a control; it is recommended only if the table has no pretrained
    backbone.

    Breiman, Friedman, Olshen & Stone 1984, "Classification and Regression Trees", for the one-standard-error
    rule.

    Args:
        table: one row per candidate, with the columns `backbone`, `images per second`, `linear-probe`
            (accuracy, 0 to 1), and `random` (True for random weights). Optional columns: `slowest timing`
            and `fastest timing` (images per second; NaN if the speed was timed once, and without these
            columns the speed counts as exact), `multiply-adds` (per image), and `parameters`.
        standard_error: standard error of the best accuracy, 0 to 1.

    >>> rows = {"backbone": ["a", "b"], "linear-probe": [0.80, 0.79], "images per second": [10.0, 20.0]}
    >>> table = pd.DataFrame(rows | {"random": [False, False]})
    >>> recommend(table, 0.02), recommend(table, 0.005)
    ('b', 'a')
    >>> noisy = table.assign(**{"slowest timing": 8.0, "fastest timing": 22.0, "multiply-adds": [1e9, 2e9]})
    >>> recommend(noisy, 0.02)
    'a'
    """
    near = near_best(table, standard_error)
    rows = near.to_dict("records")
    beaten = [any(clearly_faster(other, row) for other in rows) for row in rows]
    costs = [name for name in (MULTIPLY_ADDS, PARAMETERS) if name in near]
    rest = near[~np.array(beaten)].assign(error=-near[PROBE])
    return str(rest.sort_values([*costs, "error"], kind="stable")["backbone"].iloc[0])


def near_best(table: pd.DataFrame, standard_error: float) -> pd.DataFrame:
    """Return the pretrained rows within one standard error of the best linear probe.

    Args:
        table, standard_error: as for `recommend`. If all rows have random weights, all of them compete.
    """
    eligible = table if table["random"].all() else table[~table["random"]]
    return eligible[eligible[PROBE] >= eligible[PROBE].max() - standard_error]


def clearly_faster(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Return whether repeated timings show that one backbone is faster than another.

    Its slowest timing must beat the fastest timing of the other, so a busy machine, whose timings vary, makes
    the answer False. If it also needs more multiply-adds and more parameters, a higher speed would be a
    surprise; then it must be 1.5 times as fast, too.

    Args:
        one, other: rows of the table of `recommend`.

    >>> one, other = {"images per second": 12.0}, {"images per second": 10.0}
    >>> clearly_faster(one, other), clearly_faster(one, other | {"fastest timing": 13.0})
    (True, False)
    """
    if not one.get(SLOWEST, one[SPEED]) > other.get(FASTEST, other[SPEED]):
        return False
    costly = all(one.get(name, 0) > other.get(name, 0) for name in (MULTIPLY_ADDS, PARAMETERS))
    return bool(not costly or one[SPEED] > SURPRISE * other[SPEED])


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
