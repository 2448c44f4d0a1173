"""The report of accuracy against the number of labels: its answer follows from the table."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tlkit import write_report
from tlkit.experiments.label_counts import LabelCounts

SIZES = (20, 40, 80, 160, 320, 640)


def table(law, seeds=(0, 1, 2), arms=("scratch", "fine-tuning"), sizes=SIZES):
    """A table in which fine-tuning follows `law` and scratch stays 0.2 below."""
    rng = np.random.default_rng(0)
    rows = [
        (arm, size, seed, float(law(size)) - 0.2 * (arm == "scratch") + rng.normal(0, 0.004))
        for arm in arms
        for size in sizes
        for seed in seeds
    ]
    return pd.DataFrame(rows, columns=["arm", "labels", "seed", "accuracy"])


def rising(labels):
    return 1 - (0.05 + labels**-0.4)


@pytest.fixture
def counts(digits):
    def of(rows, target_accuracy=0.9):
        return LabelCounts(digits, rows, "LeNet", target_accuracy)

    return of


def test_the_answer_is_how_many_more_labels_the_best_technique_needs(counts, titles):
    found = counts(table(rising))
    needed = 0.05 ** (-1 / 0.4)
    assert re.match(
        r"Fine-tuning reaches 88% with 640 labels \(95 % interval over 3 seeds: 8[678] to (88|89|90) %\); "
        "for 90% about",
        found.answer,
    )
    reached = found.metrics()["reached"]
    assert 0.86 < reached["low"] < reached["value"] < reached["high"] < 0.91
    assert "more are needed (95 % interval of the total:" in found.answer
    numbers = found.metrics()
    assert numbers["forecast"]["labels_needed"] == pytest.approx(needed, rel=0.3)
    assert numbers["forecast"]["low"] < needed < numbers["forecast"]["high"]
    assert numbers["best"] == "fine-tuning"
    assert numbers["target_accuracy"] == 0.9
    report = found.report()
    assert report.answer == found.answer
    assert titles(report) == [
        "Accuracy by number of labels",
        "The value of transfer",
        "How many labels are needed",
    ]
    assert report.cautions == []


def test_what_is_reached_already_needs_no_more(counts):
    found = counts(table(rising), 0.7)
    assert "for 70% about 32 are enough" in found.answer
    assert found.metrics()["forecast"]["labels_needed"] < 640


def test_a_curve_that_levels_off_is_said_to(counts):
    found = counts(table(lambda n: 0.8 - n**-1.0))
    assert "levels off below 90%" in found.answer
    assert found.metrics()["forecast"]["labels_needed"] == np.inf


def test_neither_the_interval_nor_a_band_leaves_the_range_of_an_accuracy(counts):
    rows = table(lambda n: 0.97, seeds=(0, 1))
    rows.loc[rows["seed"] == 1, "accuracy"] = 1.0
    found = counts(rows)
    assert 0 < found.reached["low"] < found.reached["value"] < found.reached["high"] <= 1
    ax = Figure().subplots()
    found.curves_on(ax)
    heights = np.concatenate([path.vertices[:, 1] for each in ax.collections for path in each.get_paths()])
    assert heights.max() == 1.0
    assert ax.get_ylim()[1] < 1.1


def test_a_forecast_that_failed_is_a_caution(counts):
    def bent(labels):
        return rising(labels) if labels < 300 else 0.95

    assert "The forecast failed where it could be checked" in counts(table(bent)).report().cautions[0]


@pytest.mark.filterwarnings("ignore:With one seed")
def test_one_seed_is_a_caution_and_gives_no_intervals(counts, titles):
    report = counts(table(rising, seeds=[0])).report()
    assert "the spread is unknown" in report.cautions[0]
    assert "with 640 labels (one seed gives no interval)" in report.answer
    assert "The value of transfer" not in titles(report)


def test_three_sizes_show_the_curve_and_make_no_forecast(counts, titles):
    found = counts(table(rising, sizes=SIZES[:3]))
    assert "measure at least four sizes" in found.answer
    assert titles(found.report()) == ["Accuracy by number of labels", "The value of transfer"]
    assert found.metrics()["forecast"] is None


def test_the_table_is_written_with_a_page_that_opens_without_a_network(counts, tmp_path, stands_alone):
    rows = table(rising)
    out = write_report(counts(rows), tmp_path / "out", command="tlkit label-counts")
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), rows)
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert len(numbers["results"]) == len(rows)
    assert len(numbers["check"]) == 2
    assert len(stands_alone((out / "report.html").read_text("utf-8"))) == 4
