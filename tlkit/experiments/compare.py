"""Compare arms over seeds and settings: the same experiment, run again and again, that can be resumed."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tlkit.experiments.cells import run_cells
from tlkit.experiments.worker import Arm
from tlkit.reports.comparison import Comparison


def compare(
    arms: Mapping[str, Arm],
    *,
    seeds: Iterable[int] = (0, 1, 2),
    settings: Mapping[str, Iterable[Any]] | None = None,
    keep: str | Path | None = None,
    workers: int | None = 1,
    progress: bool = False,
) -> Comparison:
    """Run every arm with every setting and every seed.

    Args:
        arms: what is compared: the name of each arm, and a function that takes the seed and returns named
            results, such as `{"accuracy": 0.8}`. Keras, NumPy and Python are seeded before each call.
        seeds: at least three show a spread.
        settings: what else is varied, by the name of the argument: with `{"labels": [1, 10]}` an arm is
            called as `arm(seed, labels=1)` and `arm(seed, labels=10)`. Of several settings, every combination
            is run.
        keep: a `.csv` or `.parquet` file that receives each row as soon as it is there. Called again,
            `compare` does not repeat the rows in it, even after a kill. It knows arms by their names alone:
            delete the file when you change what an arm does.
        workers: processes that run side by side, each on one core. They import what an arm needs again, so
            this pays for runs of half a minute or more. `None` takes as many as cores and memory allow, and
            one where there is a GPU.
        progress: show a progress bar with the time left.

    Returns:
        The comparison; its `table` has one row for each arm, setting and seed.

    Raises:
        TlkitError: there is nothing to run, or a setting or result has the name of another column.

    >>> found = compare({"coin": lambda seed: {"accuracy": 0.5}}, seeds=[0, 1])
    >>> found.table[["arm", "seed", "accuracy"]].values.tolist()
    [['coin', 0, 0.5], ['coin', 1, 0.5]]
    """
    start = time.perf_counter()
    varied = {name: list(values) for name, values in (settings or {}).items()}
    table = run_cells(arms, seeds=seeds, settings=varied, keep=keep, workers=workers, progress=progress)
    return Comparison(table, list(varied), seconds={"total": time.perf_counter() - start})
