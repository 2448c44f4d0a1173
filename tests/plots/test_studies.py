"""Figures of studies: they show what the table says."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tlkit import plots
from tlkit.challenges.dataset_size import fit_power_law


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def compared(by=()):
    rows = [("sure", 0.1, 0.05, 0.15), ("unsure", 0.02, -0.05, 0.09), ("worse", -0.2, -0.3, -0.1)]
    table = pd.DataFrame(rows, columns=["arm", "difference", "low", "high"])
    if not by:
        return table.set_index("arm")
    return pd.concat([table.assign(labels=each) for each in by]).set_index(["labels", "arm"])


def marks(ax):
    return [line for line in ax.lines if line.get_marker() in tuple("os^vPX") and len(line.get_xdata())]


def test_a_difference_is_filled_where_its_interval_leaves_zero_out():
    ax = plots.differences(compared(), quantity="difference in accuracy")
    assert [(line.get_xdata()[0], line.get_fillstyle()) for line in marks(ax)] == [
        (0.1, "full"),
        (0.02, "none"),
        (-0.2, "full"),
    ]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["sure", "unsure", "worse"]
    assert ax.get_xlabel() == "difference in accuracy"


def test_groups_have_a_colour_and_a_marker_each_and_do_not_cover_each_other():
    ax = plots.differences(compared(by=[5, 20]))
    own = marks(ax)
    assert len(own) == 6
    assert {line.get_marker() for line in own} == {"o", "s"}
    assert len({line.get_ydata()[0] for line in own}) == 6
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["labels: 5", "labels: 20"]


@pytest.fixture
def curve():
    labels = np.repeat([20, 40, 80, 160, 320], 3)
    rng = np.random.default_rng(0)
    return pd.DataFrame({"labels": labels, "accuracy": 1 - labels**-0.5 + rng.normal(0, 0.005, len(labels))})


def test_a_forecast_goes_beyond_the_largest_size_and_marks_the_aim(curve):
    law = fit_power_law(curve["labels"], curve["accuracy"])
    ax = plots.forecast(curve, law, aim=0.96, setting="labels")
    assert max(line.get_xdata().max() for line in ax.lines if len(line.get_xdata()) > 9) == pytest.approx(
        8 * 320
    )
    [aim] = [line for line in ax.lines if line.get_marker() == "D"]
    assert law.accuracy(aim.get_xdata()[0]) == pytest.approx(0.96)
    assert any(text.get_text().startswith("96% at") for text in ax.get_legend().get_texts())


def test_an_aim_out_of_reach_is_no_point(curve):
    law = fit_power_law(curve["labels"], curve["accuracy"])
    ax = plots.forecast(curve, law, aim=0.9999)
    assert not [line for line in ax.lines if line.get_marker() == "D"]


def test_held_out_sizes_look_otherwise_than_those_that_were_fitted(curve):
    few = curve[curve["labels"] <= 80]
    labels = pd.concat([few["labels"], pd.Series([10, 10])])
    law = fit_power_law(labels, pd.concat([few["accuracy"], pd.Series([0.68, 0.69])]))
    ax = plots.forecast(curve, law, seen=80)
    [held_out] = [line for line in ax.lines if line.get_marker() == "s"]
    assert set(held_out.get_xdata()) == {160, 320}
    dashed = next(line for line in ax.lines if line.get_linestyle() == "--")
    assert dashed.get_xdata().min() >= 80
