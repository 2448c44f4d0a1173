"""Figures of overfitting: they show the measured values."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tlkit import plots
from tlkit.challenges.overfitting import expected_calibration_error, reliability_table

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_the_reliability_diagram_shows_the_calibration_error():
    p, labels = RNG.dirichlet(np.ones(3), size=200), RNG.integers(0, 3, 200)
    table = reliability_table(p, labels)
    ax = plots.reliability(table)
    ax.figure.canvas.draw()
    assert f"{expected_calibration_error(p, labels):.3f}, 200 images" in ax.get_title()
    heights = [bar.get_height() for bar in ax.patches if not bar.get_hatch()]
    np.testing.assert_allclose(heights[: len(table)], table["accuracy"])


def test_each_stage_has_one_bar_per_training_run():
    tables = {
        name: pd.DataFrame({"relative": RNG.uniform(size=3), "distance": [1.0, 2.0, 3.0]}, list("abc"))
        for name in ("plain", "l2-sp")
    }
    _, axes = plt.subplots()
    ax = plots.distance_from_start(tables, axes)
    assert ax is axes
    expected = np.concatenate([table["relative"] for table in tables.values()])
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], expected)
    middles = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
    np.testing.assert_allclose(np.round(middles), [0, 1, 2, 0, 1, 2])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["plain", "l2-sp"]


def test_gaps_are_drawn_per_epoch():
    ax = plots.gaps({"plain": [0.1, 0.3, 0.5], "mixup": [0.0, 0.1]})
    ax.figure.canvas.draw()
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 0.1], [2, 0.3], [3, 0.5]])
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[1, 0.0], [2, 0.1]])
