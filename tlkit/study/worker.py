"""What a process of a study does first: it gets ready, and only then loads Keras and the arm.

Nothing here imports Keras: unpickling this function must not load it before its start-up lines are held back.
"""

from typing import Any

import cloudpickle

from tlkit.quiet import import_keras


def run_cell(place: int, arm: bytes, cell: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the place of a cell and its results; the arm comes pickled by cloudpickle."""
    keras = import_keras()
    from tlkit.study.cells import results_of

    try:
        return place, results_of(cloudpickle.loads(arm), cell)
    finally:
        keras.utils.clear_session()  # Keras keeps the graphs of all models, and this process lives for many
