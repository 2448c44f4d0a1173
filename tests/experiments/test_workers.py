"""Cells side by side: in processes of their own, and with the same results."""

import os
from types import SimpleNamespace

import keras
import numpy as np
import psutil
import pytest
from pushes import full

from tlkit.errors import TlkitWarning
from tlkit.experiments import cells
from tlkit.experiments.cells import run_cells

SETTINGS = {"labels": [1, 5]}


def drawing(offset):
    """An arm that is a closure, which Python itself cannot pickle."""

    def arm(seed, labels):
        drawn = float(keras.random.uniform(())) + float(np.random.uniform())  # noqa: NPY002
        process = {"process": os.getpid(), "threads": os.environ.get("TF_NUM_INTRAOP_THREADS")}
        return {"value": offset + labels, "drawn": drawn, **process}

    return {"arm": arm}


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory):
    """The table of cells in two processes, where it is kept, and the environment afterwards."""
    keep = tmp_path_factory.mktemp("comparison") / "table.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
        patch.setenv("OMP_NUM_THREADS", "3")
        table = run_cells(drawing(10), seeds=[0, 1], settings=SETTINGS, workers=2, keep=keep)
        environment = dict(os.environ)
    return table, keep, environment


@full
def test_rows_are_in_order_whoever_ran_them(side_by_side):
    found = side_by_side[0][["labels", "seed", "value"]].values.tolist()
    assert found == [[1, 0, 11], [1, 1, 11], [5, 0, 15], [5, 1, 15]]


@full
def test_every_cell_ran_in_another_process_on_one_thread(side_by_side):
    assert os.getpid() not in side_by_side[0]["process"].tolist()
    assert set(side_by_side[0]["threads"]) == {"1"}


@full
def test_the_environment_of_this_process_stays_as_it_was(side_by_side):
    environment = side_by_side[-1]
    assert "TF_NUM_INTRAOP_THREADS" not in environment
    assert environment["OMP_NUM_THREADS"] == "3"


@full
def test_results_are_those_of_one_process(side_by_side):
    alone = run_cells(drawing(10), seeds=[0, 1], settings=SETTINGS)
    assert alone["drawn"].tolist() == side_by_side[0]["drawn"].tolist()
    assert set(alone["process"]) == {os.getpid()}


@full
def test_what_processes_found_is_kept_too(side_by_side):
    _, keep, _ = side_by_side
    again = run_cells({"arm": lambda seed, labels: {"value": -1}}, seeds=[1], settings=SETTINGS, keep=keep)
    assert again["value"].tolist() == [11, 15]


@full
def test_an_error_in_a_process_comes_out_with_its_cell():
    def arm(seed):
        raise ValueError(f"boom {seed}")

    with pytest.raises(ValueError, match=r"boom [01]") as caught:
        run_cells({"arm": arm}, seeds=[0, 1], workers=2)
    seed = str(caught.value)[-1]
    assert f"the cell {{'arm': 'arm', 'seed': {seed}}}" in "".join(getattr(caught.value, "__notes__", []))


def test_as_many_processes_as_cores_and_memory_allow(monkeypatch):
    def memory(free, held):
        left = SimpleNamespace(available=free * 1e9)
        this_process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=held * 1e9))
        monkeypatch.setattr(psutil, "virtual_memory", lambda: left)
        monkeypatch.setattr(psutil, "Process", lambda: this_process)

    monkeypatch.setattr(cells.joblib, "cpu_count", lambda: 4)
    monkeypatch.setattr(cells, "has_accelerator", lambda: False)
    memory(free=100, held=5)
    assert cells.allowed_workers() == 4
    memory(free=11, held=5)
    with pytest.warns(TlkitWarning, match=r"Memory allows 2 of 4 processes.*about 5\.0 GB"):
        assert cells.allowed_workers() == 2
    memory(free=1, held=5)
    with pytest.warns(TlkitWarning, match="Memory allows 1 of 4"):
        assert cells.allowed_workers() == 1
    memory(free=2, held=0.1)  # a backend and a small network take 1.5 GB, however little is held now
    with pytest.warns(TlkitWarning, match=r"Memory allows 1 of 4.*about 1\.5 GB"):
        assert cells.allowed_workers() == 1
    memory(free=100, held=5)
    monkeypatch.setattr(cells, "has_accelerator", lambda: True)
    assert cells.allowed_workers() == 1
