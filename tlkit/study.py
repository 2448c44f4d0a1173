"""The same experiment over arms and seeds: one tidy table, and its means with their spread."""

import time
from collections.abc import Callable, Iterable, Mapping

import keras
import pandas as pd
from tqdm import tqdm

from tlkit.errors import TlkitError


def compare(
    arms: Mapping[str, Callable[[int], Mapping[str, float]]],
    *,
    seeds: Iterable[int] = (0, 1, 2),
    progress: bool = False,
) -> pd.DataFrame:
    """Run every arm with every seed.

    Args:
        arms: what is compared: name to a function that takes the seed and returns named results,
            such as `{"accuracy": 0.8}`. Keras, numpy and Python are seeded before each call.
        seeds: at least three make a spread worth looking at.
        progress: show a progress bar.

    Returns:
        One row for each arm and seed: `arm`, `seed`, the results, `seconds`.

    >>> table = compare({"coin": lambda seed: {"accuracy": 0.5}}, seeds=[0, 1])
    >>> table[["arm", "seed", "accuracy"]].values.tolist()
    [['coin', 0, 0.5], ['coin', 1, 0.5]]
    """
    cells = [(arm, seed) for arm in arms for seed in seeds]
    if not cells:
        raise TlkitError("A study needs at least one arm and one seed.")
    rows = []
    for arm, seed in tqdm(cells, desc="study", unit="run", disable=not progress):
        keras.utils.set_random_seed(seed)
        start = time.perf_counter()
        results = arms[arm](seed)
        rows.append({"arm": arm, "seed": seed, **results, "seconds": time.perf_counter() - start})
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, value: str = "accuracy") -> pd.DataFrame:
    """Return mean, standard deviation, smallest and largest value of each arm, in the arms' order.

    With one seed the standard deviation is unknown (NaN).

    >>> table = pd.DataFrame({"arm": ["a", "a"], "seed": [0, 1], "accuracy": [0.5, 0.7]})
    >>> summary(table).loc["a", "mean"].round(3).item()
    0.6
    """
    grouped = table.groupby("arm", sort=False)[value]
    return grouped.agg(["mean", "std", "min", "max", "count"]).rename(columns={"count": "seeds"})
