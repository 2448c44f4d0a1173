"""Results of trainings that take too long for a lesson; scripts in `benchmarks/` compute them."""

from pathlib import Path

import numpy as np
import pandas as pd

from tlkit.errors import UnknownNameError

FOLDER = Path(__file__).parent
PREDICTIONS = {"test", "shifted"}  # columns of predicted classes, a digit per image
LOSSES = {"loss"}  # columns of losses in hundredths, two digits of base 36 per image


def stored_results(name: str, dataset: str) -> pd.DataFrame:
    """Return the stored results of an experiment, one training per row.

    Args:
        name: of the script that computed them, `benchmarks/{name}.py`, which describes the columns.
        dataset: the data on which they were computed, such as `"solar"`.

    Returns:
        The table, ordered by seed; rows without a seed come first. Predictions are class indices, an int
        array `(n,)` in each row. The column `loss`, if there is one, is a float array `(n,)`. The true
        classes of the same images are `attrs["labels"]`, int `(n,)`.

    Raises:
        UnknownNameError: there are no such results; the message lists all.

    >>> runs = stored_results("fine_tuning", "solar")
    >>> runs.attrs["labels"].shape, "frozen" in set(runs["arm"])
    ((1890,), True)
    """
    path = FOLDER / f"{name}-{dataset.replace('/', '-')}.csv"
    if not path.exists():
        raise UnknownNameError("stored result", path.stem, sorted(each.stem for each in FOLDER.glob("*.csv")))
    table = pd.read_csv(path, dtype={column: str for column in PREDICTIONS | LOSSES})
    for column in PREDICTIONS & set(table):
        table[column] = [np.array([int(digit, 36) for digit in row]) for row in table[column].fillna("")]
    for column in LOSSES & set(table):
        pairs = ([row[i : i + 2] for i in range(0, len(row), 2)] for row in table[column].fillna(""))
        table[column] = [np.array([int(pair, 36) / 100 for pair in row]) for row in pairs]
    truth = table["arm"] == "labels"
    [labels], table = table[truth]["test"], table[~truth]
    # arms are compared seed by seed, and two processes can append their seeds in any order
    table = table.sort_values("seed", kind="stable", na_position="first", ignore_index=True)
    table.attrs["labels"] = labels
    return table
