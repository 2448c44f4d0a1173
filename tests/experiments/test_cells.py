"""Cells: every arm with every setting and every seed, in one tidy table."""

import os
import signal

import keras
import numpy as np
import pandas as pd
import pytest

from tlkit.callbacks import Interruptible
from tlkit.errors import TlkitError
from tlkit.experiments.cells import run_cells


def test_every_arm_meets_every_combination_of_settings_and_every_seed():
    called = []

    def arm(seed, labels, depth):
        called.append((labels, depth, seed))
        return {"accuracy": labels + seed}

    table = run_cells({"one": arm, "two": arm}, seeds=[0, 1], settings={"labels": [1, 3], "depth": "ab"})
    assert called == 2 * [(n, d, seed) for n in (1, 3) for d in "ab" for seed in (0, 1)]
    assert list(table) == ["arm", "labels", "depth", "seed", "accuracy", "seconds"]
    assert table["arm"].tolist() == ["one"] * 8 + ["two"] * 8
    assert (table["accuracy"] == table["labels"] + table["seed"]).all()


def test_without_settings_an_arm_takes_the_seed_alone():
    table = run_cells({"arm": lambda seed: {"accuracy": seed}}, seeds=iter([3, 4]))
    assert list(table) == ["arm", "seed", "accuracy", "seconds"]
    assert table["accuracy"].tolist() == [3, 4]


def test_every_cell_is_seeded_alike():
    def draw(seed, labels):
        return {"value": float(keras.random.uniform(()))}

    table = run_cells({"one": draw, "two": draw}, seeds=[0, 1], settings={"labels": [1, 3]})
    assert table.groupby("seed")["value"].nunique().tolist() == [1, 1]
    assert table["value"].nunique() == 2


def test_the_same_seed_twice_gives_the_same_result_twice():
    draws = run_cells({"draw": lambda seed: {"value": float(keras.random.uniform(()))}}, seeds=[0, 1, 0])
    assert draws["value"][0] == draws["value"][2] != draws["value"][1]


def test_what_cannot_be_run_is_refused():
    arm = {"arm": lambda seed, **setting: {}}
    for options in ({"seeds": []}, {"settings": {"labels": []}}):
        with pytest.raises(TlkitError, match="at least one arm, one value of each setting and one seed"):
            run_cells(arm, **options)
    with pytest.raises(TlkitError, match="at least one arm"):
        run_cells({})
    for name in ("arm", "seed", "seconds"):
        with pytest.raises(TlkitError, match=f"cannot be named '{name}'"):
            run_cells(arm, settings={name: [1]})
    with pytest.raises(TlkitError, match=r"'labels', which is a column already\. Rename it"):
        run_cells({"arm": lambda seed, labels: {"labels": 1}}, settings={"labels": [1]})


@pytest.fixture
def _sigint():
    """Let Ctrl-C raise, even if this process was started in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_sigint")
def test_ctrl_c_in_a_training_ends_the_comparison_and_its_cell_is_no_result(tmp_path):
    class CtrlC(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            os.kill(os.getpid(), signal.SIGINT)

    def arm(seed):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        watch = Interruptible()
        callbacks = [watch, CtrlC()] if seed else [watch]
        history = model.fit(np.zeros((4, 2)), np.zeros(4), epochs=3, callbacks=callbacks, verbose=0).history
        return {"epochs": len(history["loss"])}

    with pytest.raises(KeyboardInterrupt):
        run_cells({"arm": arm}, seeds=[0, 1, 2], keep=tmp_path / "table.csv")
    assert pd.read_csv(tmp_path / "table.csv")[["seed", "epochs"]].values.tolist() == [[0, 3]]
    watch = Interruptible()  # outside of a comparison, Ctrl-C keeps what was trained
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 2)), np.zeros(4), epochs=3, callbacks=[watch, CtrlC()], verbose=0)
    assert watch.interrupted
