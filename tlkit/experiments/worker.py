"""The process of a comparison's cells: it holds back the start-up lines of Keras, then loads the arm.

Nothing here imports Keras at the top: unpickling `run_cell` must not load it too early.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle

from tlkit._internal.keras_import import import_keras
from tlkit._internal.seeds import set_seed
from tlkit.errors import TlkitError

Arm = Callable[..., Mapping[str, Any]]


def run_cell(place: int, arm: bytes, cell: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the place of a cell and its results; the arm comes pickled by cloudpickle."""
    keras = import_keras()
    try:
        return place, results_of(cloudpickle.loads(arm), cell)
    finally:
        keras.utils.clear_session()  # Keras keeps the graphs of all models, and this process runs many cells


def results_of(arm: Arm, cell: dict[str, Any]) -> dict[str, Any]:
    """Seed everything, run one cell, and return its results and how many seconds it took."""
    set_seed(cell["seed"])
    given = {name: value for name, value in cell.items() if name not in ("arm", "seed")}
    start = time.perf_counter()
    try:
        results = dict(arm(cell["seed"], **given))
    except Exception as error:
        error.add_note(f"This was the cell {cell}. With `keep`, the finished cells are not run again.")
        raise
    if taken := set(cell) & set(results):
        raise TlkitError(
            f"Arm {cell['arm']!r} returns {taken.pop()!r}, which is a column already. Rename it."
        )
    return {**results, "seconds": time.perf_counter() - start}
