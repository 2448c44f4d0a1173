"""Run arms with settings and seeds: every combination is a cell, and gives one row of a table."""

import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import pandas as pd
import psutil
from tqdm import tqdm

from tlkit._internal.environment import environment
from tlkit.backbones.engines import has_accelerator
from tlkit.errors import TlkitError, TlkitWarning
from tlkit.experiments.kept import Kept
from tlkit.experiments.worker import Arm, results_of, run_cell

LEAST_MEMORY = 1.5e9  # bytes of a process with a backend and a small network
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def run_cells(
    arms: Mapping[str, Arm],
    *,
    seeds: Iterable[int] = (0, 1, 2),
    settings: Mapping[str, Iterable[Any]] | None = None,
    keep: str | Path | None = None,
    workers: int | None = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Run every arm with every setting and every seed, and return a table; see `tlkit.compare`.

    Returns:
        One row for each arm, setting and seed: `arm`, the settings, `seed`, the results, `seconds`.
    """
    varied = {name: list(values) for name, values in (settings or {}).items()}
    if taken := {"arm", "seed", "seconds"} & set(varied):
        raise TlkitError(
            f"A setting cannot be named {taken.pop()!r}, as a column of the table is. Rename it."
        )
    combined = [dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())]
    cells = [
        {"arm": arm, **setting, "seed": seed}
        for arm, setting, seed in itertools.product(arms, combined, list(seeds))
    ]
    if not cells:
        raise TlkitError(
            "There is nothing to run: give at least one arm, one value of each setting and one seed."
        )
    kept = None if keep is None else Kept(Path(keep))
    rows = [None if kept is None else kept.row_of(cell) for cell in cells]
    left = [place for place, row in enumerate(rows) if row is None]
    jobs = [(arms[cells[place]["arm"]], cells[place]) for place in left]
    bar = tqdm(
        total=len(cells), initial=len(cells) - len(left), desc="comparison", unit="run", disable=not progress
    )
    with bar:
        for place, result in _run(jobs, workers):
            row = rows[left[place]] = cells[left[place]] | result
            if kept is not None:
                kept.add(row)
            bar.update()
    return pd.DataFrame([{**cell, **(row or {}), **cell} for cell, row in zip(cells, rows, strict=True)])


def _run(jobs: list[tuple[Arm, dict[str, Any]]], workers: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the place and the results of each job as soon as it is done."""
    workers = min(len(jobs), allowed_workers() if workers is None else workers)
    if workers < 2:
        for place, job in enumerate(jobs):
            yield place, results_of(*job)
        return
    # nothing of a GPU is shared, and a thread for each core would only wait for the other processes
    with environment(ONE_THREAD), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped")  # one that grew is replaced, nothing is lost
        pool = joblib.Parallel(workers, batch_size=1, return_as="generator_unordered")
        yield from pool(
            joblib.delayed(run_cell)(place, cloudpickle.dumps(arm), cell, os.getpid())
            for place, (arm, cell) in enumerate(jobs)
        )


def allowed_workers() -> int:
    """Return how many processes may run cells at once: one per core as far as memory allows, one on a GPU.

    A process needs at least 1.5 GB, or as much as this one holds now.
    """
    if has_accelerator():
        return 1
    each = max(LEAST_MEMORY, psutil.Process().memory_info().rss)
    fitting = int(psutil.virtual_memory().available // each)
    cores = joblib.cpu_count()
    if fitting < cores:
        warnings.warn(
            f"Memory allows {max(1, fitting)} of {cores} processes at once: each takes about "
            f"{each / 1e9:.1f} GB. Close other programs to be faster.",
            TlkitWarning,
            stacklevel=3,
        )
    return max(1, min(cores, fitting))
