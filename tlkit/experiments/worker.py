"""The process of a comparison's cells: it holds back the start-up lines of Keras, then loads the arm.

Nothing here imports Keras at the top: unpickling `run_cell` must not load it too early.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import cloudpickle
import psutil

from tlkit._internal.keras_import import import_keras
from tlkit._internal.seeds import set_seed
from tlkit.errors import TlkitError

Arm = Callable[..., Mapping[str, Any]]


_bound: set[int] = set()  # processes whose end also ends this one


def end_with(parent: int) -> None:
    """End this process as soon as another one ends, even if that one is killed.

    Args:
        parent: the number of that process, such as `os.getpid()` of the process that starts this one.
    """
    if parent in _bound:
        return
    _bound.add(parent)

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(parent).wait()
        os._exit(1)

    threading.Thread(target=watch, name="tlkit-end-with-parent", daemon=True).start()


def run_cell(place: int, arm: bytes, cell: dict[str, Any], parent: int) -> tuple[int, dict[str, Any]]:
    """Return the place of a cell and its results.

    Args:
        place: the position of the cell in the table.
        arm: the function, pickled by cloudpickle.
        cell: the arm, the settings and the seed.
        parent: the number of the process that runs the comparison; this process ends with it.
    """
    end_with(parent)
    keras = import_keras()
    try:
        return place, results_of(cloudpickle.loads(arm), cell)
    finally:
        keras.utils.clear_session()  # Keras keeps the graphs of all models, and this process runs many cells


def results_of(arm: Arm, cell: dict[str, Any]) -> dict[str, Any]:
    """Seed everything, run one cell, and return its results and how many seconds it took.

    Ctrl-C raises KeyboardInterrupt: a training that was stopped early is no result.
    """
    from tlkit.callbacks import interrupts_raise

    set_seed(cell["seed"])
    given = {name: value for name, value in cell.items() if name not in ("arm", "seed")}
    start = time.perf_counter()
    try:
        with interrupts_raise():
            results = dict(arm(cell["seed"], **given))
    except Exception as error:
        error.add_note(f"This was the cell {cell}. With `keep`, the finished cells are not run again.")
        raise
    if taken := set(cell) & set(results):
        raise TlkitError(
            f"Arm {cell['arm']!r} returns {taken.pop()!r}, which is a column already. Rename it."
        )
    return {**results, "seconds": time.perf_counter() - start}
