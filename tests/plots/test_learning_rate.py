"""The figure of a range test: it shows the measured losses and the suggestion."""

from types import SimpleNamespace

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlkit import plots

RATES = np.geomspace(1e-6, 1, 50)
SMOOTHED = 2 - 1.5 * np.exp(-((np.log10(RATES) + 2) ** 2))  # lowest at 1e-2


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def found(losses, smoothed=SMOOTHED):
    arrays = {"rates": RATES, "losses": losses, "smoothed": smoothed}
    return SimpleNamespace(**arrays, suggestion=1e-3, lowest_loss_rate=1e-2)


def test_the_losses_are_drawn_on_a_logarithmic_axis():
    _, axes = plt.subplots()
    losses = SMOOTHED + 0.1
    ax = plots.learning_rate(found(losses), axes)
    ax.figure.canvas.draw()
    assert ax is axes
    assert ax.get_xscale() == "log"
    lines = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(lines["one batch"].get_xydata(), np.column_stack([RATES, losses]))
    np.testing.assert_allclose(lines["running average"].get_ydata(), SMOOTHED)


def test_the_suggestion_is_marked_with_its_value():
    ax = plots.learning_rate(found(SMOOTHED))
    assert ax.get_title() == "suggested learning rate 1.0e-03"
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend[-2:] == ["rate of the lowest loss: 1.0e-02", "suggestion: 1.0e-03"]
    [point] = [line for line in ax.lines if len(line.get_xdata()) == 1]
    height = np.interp(-3, np.log10(RATES), SMOOTHED)
    np.testing.assert_allclose(point.get_xydata(), [[1e-3, height]])


def test_a_diverged_loss_does_not_flatten_the_rest_of_the_curve():
    diverged = np.where(RATES > 0.1, 1e6, SMOOTHED)
    low, high = plots.learning_rate(found(diverged, diverged)).get_ylim()
    assert low < SMOOTHED.min() < SMOOTHED.max() < high < 5
