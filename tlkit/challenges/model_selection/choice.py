"""Which of several backbones to take: accuracy against cost, and a rule for choices within the noise."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

PROBE, SPEED = "linear-probe", "images per second"  # columns of the table that decide


def recommend(table: pd.DataFrame, standard_error: float) -> str:
    """Return the fastest pretrained backbone within one standard error of the best linear probe.

    Among backbones that these examples cannot tell apart, the fastest wins. Random weights are the control;
    they are recommended only where nothing else was measured.

    Breiman, Friedman, Olshen & Stone 1984, "Classification and Regression Trees", for the rule of one
    standard error.

    Args:
        table: one row a candidate: `backbone`, `images per second`, `linear-probe` (0 to 1), and `random`,
            whether its weights are.
        standard_error: of the best accuracy.

    >>> rows = {"backbone": ["a", "b"], "linear-probe": [0.80, 0.79], "images per second": [10.0, 20.0]}
    >>> table = pd.DataFrame(rows | {"random": [False, False]})
    >>> recommend(table, 0.02), recommend(table, 0.005)
    ('b', 'a')
    """
    able = table if table["random"].all() else table[~table["random"]]
    near = able[able[PROBE] >= able[PROBE].max() - standard_error]
    return str(near.loc[near[SPEED].idxmax(), "backbone"])


def pareto_optimal(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    """Tell for each pair of values whether no other is as good in both and better in one; higher is better.

    Returns:
        bool `(n,)`.

    >>> pareto_optimal([1, 2, 3, 3], [9, 5, 5, 4]).tolist()
    [True, False, True, False]
    """
    values = np.column_stack([np.asarray(first, float), np.asarray(second, float)])
    as_good = (values[:, None] >= values).all(axis=2)
    better = (values[:, None] > values).any(axis=2)
    return np.logical_not((as_good & better).any(axis=0))
