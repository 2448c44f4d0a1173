"""Figures of differences and forecasts: they show the values of the table."""

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


def differences(by=()):
    rows = [("better", 0.1, 0.05, 0.15), ("unclear", 0.02, -0.05, 0.09), ("worse", -0.2, -0.3, -0.1)]
    table = pd.DataFrame(rows, columns=["arm", "difference", "low", "high"])
    if not by:
        return table.set_index("arm")
    return pd.concat([table.assign(labels=each) for each in by]).set_index(["labels", "arm"])


def markers(ax):
    return [line for line in ax.lines if line.get_marker() in tuple("os^vPX") and len(line.get_xdata())]


def test_a_marker_is_filled_if_its_interval_excludes_zero():
    ax = plots.differences(differences(), quantity="difference in accuracy")
    assert [(line.get_xdata()[0], line.get_fillstyle()) for line in markers(ax)] == [
        (0.1, "full"),
        (0.02, "none"),
        (-0.2, "full"),
    ]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["better", "unclear", "worse"]
    assert ax.get_xlabel() == "difference in accuracy"


def test_each_group_has_its_own_colour_marker_and_position():
    ax = plots.differences(differences(by=[5, 20]))
    drawn = markers(ax)
    assert len(drawn) == 6
    assert {line.get_marker() for line in drawn} == {"o", "s"}
    assert len({line.get_ydata()[0] for line in drawn}) == 6
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["labels: 5", "labels: 20"]


@pytest.fixture
def curve():
    labels = np.repeat([20, 40, 80, 160, 320], 3)
    rng = np.random.default_rng(0)
    return pd.DataFrame({"labels": labels, "accuracy": 1 - labels**-0.5 + rng.normal(0, 0.005, len(labels))})


def test_a_forecast_extends_beyond_the_largest_size_and_marks_the_target(curve):
    law = fit_power_law(curve["labels"], curve["accuracy"])
    ax = plots.forecast(curve, law, target_accuracy=0.96, setting="labels")
    assert max(line.get_xdata().max() for line in ax.lines if len(line.get_xdata()) > 9) == pytest.approx(
        8 * 320
    )
    [target] = [line for line in ax.lines if line.get_marker() == "D"]
    assert law.accuracy(target.get_xdata()[0]) == pytest.approx(0.96)
    assert any(text.get_text().startswith("96% at") for text in ax.get_legend().get_texts())


def test_a_target_out_of_reach_is_not_marked(curve):
    law = fit_power_law(curve["labels"], curve["accuracy"])
    ax = plots.forecast(curve, law, target_accuracy=0.9999)
    assert not [line for line in ax.lines if line.get_marker() == "D"]


def test_held_out_sizes_are_drawn_differently_from_fitted_sizes(curve):
    few = curve[curve["labels"] <= 80]
    labels = pd.concat([few["labels"], pd.Series([10, 10])])
    law = fit_power_law(labels, pd.concat([few["accuracy"], pd.Series([0.68, 0.69])]))
    ax = plots.forecast(curve, law, known=80)
    [held_out] = [line for line in ax.lines if line.get_marker() == "s"]
    assert set(held_out.get_xdata()) == {160, 320}
    dashed = next(line for line in ax.lines if line.get_linestyle() == "--")
    assert dashed.get_xdata().min() >= 80
