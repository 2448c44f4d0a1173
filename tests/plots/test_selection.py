"""The figure of accuracy against speed shows the values of the table."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tlkit import plots

TABLE = pd.DataFrame(
    {
        "backbone": ["slow", "quick", "dominated", "random$"],
        "images per second": [10.0, 200.0, 20.0, 10.0],
        "linear-probe": [0.9, 0.6, 0.5, 0.2],
        "optimal": [True, True, False, False],
        "random": [False, False, False, True],
    }
)


@pytest.fixture
def ax():
    axes = plots.pareto(TABLE, standard_error=0.05, recommended="quick")
    axes.figure.canvas.draw()
    yield axes
    plt.close("all")


def test_the_line_connects_only_the_optimal_backbones(ax):
    [line] = [each for each in ax.lines if each.get_label() == "Pareto-optimal"]
    np.testing.assert_array_equal(line.get_xydata(), [[10, 0.9], [200, 0.6]])


def test_markers_distinguish_optimal_dominated_and_random_backbones(ax):
    markers = {tuple(each.get_xydata()[0]): each for each in ax.lines if each.get_marker() in ("o", "X")}
    assert len(markers) == 4
    assert markers[20, 0.5].get_markerfacecolor() == "white" != markers[200, 0.6].get_markerfacecolor()
    assert markers[10, 0.2].get_marker() == "X"


def test_names_ring_and_band_are_at_their_values(ax):
    named = {each.get_text(): each for each in ax.texts}
    assert {name: text.xy for name, text in named.items()} == {
        name: (x, y)
        for name, x, y in TABLE[["backbone", "images per second", "linear-probe"]].itertuples(index=False)
    }
    sides = [named[name].get_va() for name in ("slow", "dominated", "quick", "random$")]
    assert sides == ["bottom", "top", "bottom", "top"], "neighbours do not overlap"
    [ring] = [each for each in ax.collections if each.get_label() == "recommended"]
    np.testing.assert_allclose(ring.get_offsets(), [[200, 0.6]])
    [band] = [each for each in ax.patches if "standard error" in str(each.get_label())]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.85, 0.9))


def test_a_bar_connects_the_slowest_and_the_fastest_timing():
    ax = plots.pareto(TABLE.assign(low=[8, np.nan, 18, 9], high=[12, np.nan, 22, 11]), spread=("low", "high"))
    bars = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "|"]
    assert [[8, 0.9], [12, 0.9]] in bars
    plt.close("all")


def test_other_columns_can_be_drawn():
    table = TABLE.rename(columns={"linear-probe": "tuned"})
    assert plots.pareto(table, y="tuned", quantity="fine-tuned").get_ylabel() == "fine-tuned"
    plt.close("all")
