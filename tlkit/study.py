"""The same experiment over arms, settings and seeds: one tidy table, and its means with their spread."""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import pandas as pd
from tqdm import tqdm

from tlkit.errors import TlkitError


def compare(
    arms: Mapping[str, Callable[..., Mapping[str, float]]],
    *,
    seeds: Iterable[int] = (0, 1, 2),
    settings: Mapping[str, Iterable[Any]] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Run every arm with every setting and every seed.

    Args:
        arms: what is compared: name to a function that takes the seed and returns named results,
            such as `{"accuracy": 0.8}`. Keras, numpy and Python are seeded before each call.
        seeds: at least three make a spread worth looking at.
        settings: what else is varied, by the name of the argument: with `{"labels": [1, 10]}` an arm is
            called as `arm(seed, labels=1)` and `arm(seed, labels=10)`. Of several, every combination is run.
        progress: show a progress bar.

    Returns:
        One row for each arm, setting and seed: `arm`, the settings, `seed`, the results, `seconds`.

    Raises:
        TlkitError: there is nothing to run, or a setting has the name of another column.

    >>> table = compare({"coin": lambda seed: {"accuracy": 0.5}}, seeds=[0, 1])
    >>> table[["arm", "seed", "accuracy"]].values.tolist()
    [['coin', 0, 0.5], ['coin', 1, 0.5]]
    """
    varied = {name: list(values) for name, values in (settings or {}).items()}
    if taken := {"arm", "seed", "seconds"} & set(varied):
        raise TlkitError(
            f"A setting cannot be named {taken.pop()!r}, as a column of the table is. Rename it."
        )
    combined = [dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())]
    cells = list(itertools.product(arms, combined, seeds))
    if not cells:
        raise TlkitError("A study needs at least one arm, one value of each setting and one seed.")
    rows = []
    for arm, setting, seed in tqdm(cells, desc="study", unit="run", disable=not progress):
        keras.utils.set_random_seed(seed)
        start = time.perf_counter()
        results = arms[arm](seed, **setting)
        spent = time.perf_counter() - start
        rows.append({"arm": arm, **setting, "seed": seed, **results, "seconds": spent})
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, value: str = "accuracy", by: str | Sequence[str] = ("arm",)) -> pd.DataFrame:
    """Return mean, standard deviation, smallest and largest value of each arm, in the arms' order.

    With one seed the standard deviation is unknown (NaN).

    Args:
        table: of `compare`.
        value: the column of the results.
        by: the columns that make a group, such as `("arm", "labels")`; they are the index.

    >>> table = pd.DataFrame({"arm": ["a", "a"], "seed": [0, 1], "accuracy": [0.5, 0.7]})
    >>> summary(table).loc["a", "mean"].round(3).item()
    0.6
    """
    columns = [by] if isinstance(by, str) else list(by)
    grouped = table.groupby(columns[0] if len(columns) == 1 else columns, sort=False)[value]
    return grouped.agg(["mean", "std", "min", "max", "count"]).rename(columns={"count": "seeds"})
