"""Statistics of a comparison: means with their spread, and differences with their intervals."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from tlkit._internal.intervals import mean_interval
from tlkit.errors import TlkitError, TlkitWarning, UnknownNameError


def summary(table: pd.DataFrame, value: str = "accuracy", by: str | Sequence[str] = ("arm",)) -> pd.DataFrame:
    """Return the mean, standard deviation, minimum and maximum of each arm, in the order of the arms.

    With one seed the standard deviation is unknown (NaN).

    Args:
        table: of `tlkit.compare(...)`, its `table`.
        value: the column of the results.
        by: the columns that make a group, such as `("arm", "labels")`; they are the index.

    >>> table = pd.DataFrame({"arm": ["a", "a"], "seed": [0, 1], "accuracy": [0.5, 0.7]})
    >>> summary(table).loc["a", "mean"].round(3).item()
    0.6
    """
    columns = [by] if isinstance(by, str) else list(by)
    groups = columns[0] if len(columns) == 1 else columns
    grouped = table.groupby(groups, sort=False, dropna=False)[value]  # a setting can be None
    return grouped.agg(["mean", "std", "min", "max", "count"]).rename(columns={"count": "seeds"})


def fraction_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the mean of fractions, such as accuracies over seeds.

    It is that of `tlkit._internal.intervals.mean_interval`, moved to the logarithm of the odds with its slope
    at the mean and back. So it cannot leave 0 to 1, and far from these ends it is nearly the same.

    Args:
        values: `(n,)`, each from 0 to 1.
        confidence: of the interval, above 0 and below 1.

    Returns:
        The lower and the upper end; (NaN, NaN) for fewer than two values.

    >>> low, high = fraction_interval([0.90, 0.99])
    >>> round(low, 2), round(high, 2)
    (0.0, 1.0)
    >>> low, high = fraction_interval([0.50, 0.51, 0.52])
    >>> round(low, 3), round(high, 3)
    (0.485, 0.535)
    """
    fractions = np.asarray(values, float)
    low, high = mean_interval(fractions, confidence)
    mean = float(fractions.mean()) if len(fractions) else float("nan")
    if not 0 < mean < 1 or len(fractions) < 2:
        return low, high
    slope = 1 / (mean * (1 - mean))
    return float(expit(logit(mean) + slope * (low - mean))), float(expit(logit(mean) + slope * (high - mean)))


def paired(
    table: pd.DataFrame,
    control: str,
    value: str = "accuracy",
    *,
    by: str | Sequence[str] = (),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare every arm with the control, seed by seed; effects of the seed on both cancel out.

    The interval is that of the mean difference; see `tlkit._internal.intervals.mean_interval`.

    Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks".

    Args:
        table: of `tlkit.compare(...)`, its `table`.
        control: the arm that the others are compared with.
        value: the column of the results.
        by: columns that are compared one value at a time, such as `"labels"`; pairs differ in nothing else.
        confidence: of the interval, above 0 and below 1.

    Returns:
        One row for each value of `by` and arm: `difference` (arm minus control), `low`, `high`, `better` (the
        fraction of the pairs in which the arm is better) and `pairs`. With one pair `low` and `high` are NaN.

    Raises:
        UnknownNameError: there is no such arm.
        TlkitError: the table has one arm alone, or a pair twice.

    >>> rows = [("a", 0, 0.5), ("a", 1, 0.7), ("b", 0, 0.6), ("b", 1, 0.8)]
    >>> table = pd.DataFrame(rows, columns=["arm", "seed", "accuracy"])
    >>> paired(table, control="a").round(3).to_dict("records")
    [{'difference': 0.1, 'low': 0.1, 'high': 0.1, 'better': 1.0, 'pairs': 2}]
    """
    arms = list(dict.fromkeys(table["arm"]))
    if control not in arms:
        raise UnknownNameError("arm of the table", control, arms)
    if len(arms) < 2:
        raise TlkitError(
            f"The table has only the arm {control!r}; run at least one other arm to compare it with."
        )
    groups = [by] if isinstance(by, str) else list(by)
    if table.duplicated([*groups, "arm", "seed"]).any():
        raise TlkitError(
            f"An arm has several rows for the same seed{' and ' + ', '.join(groups) if groups else ''}, so "
            "that pairs cannot be formed. Name the setting that tells them apart in `by`."
        )
    rows = []
    for group, part in table.groupby(groups, sort=False, dropna=False) if groups else [((), table)]:
        own = part.pivot(index="seed", columns="arm", values=value).reindex(columns=arms)
        for arm in [each for each in arms if each != control]:
            differences = (own[arm] - own[control]).dropna().to_numpy(float)
            low, high = mean_interval(differences, confidence)
            rows.append(
                {
                    **dict(zip(groups, group, strict=True)),
                    "arm": arm,
                    "difference": differences.mean() if len(differences) else np.nan,
                    "low": low,
                    "high": high,
                    "better": float(np.mean(differences > 0)) if len(differences) else np.nan,
                    "pairs": len(differences),
                }
            )
    if any(row["pairs"] < 2 for row in rows):
        warnings.warn(
            "With one seed the spread is unknown, and no interval can be given. Run at least three seeds.",
            TlkitWarning,
            stacklevel=2,
        )
    return pd.DataFrame(rows).set_index([*groups, "arm"])
