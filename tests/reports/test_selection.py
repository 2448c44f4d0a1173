"""The report of a selection: its recommendation and its cautions follow from the table."""

import pandas as pd
import pytest

from tlkit.experiments.select import Selection


@pytest.fixture
def selection(digits):
    """Make a selection from rows of (name, probe, images per second, random)."""

    def of(*rows, error=0.02, recommended="a", **more):
        table = pd.DataFrame(rows, columns=["backbone", "linear-probe", "images per second", "random"])
        table = table.assign(parameters=1000, megabytes=0.004, optimal=True, logme=0.5)
        seconds = table[["backbone"]].assign(**{"linear-probe": 0.2, "logme": 0.1})
        return Selection(digits, table, seconds, recommended, error, 300, **more)

    return of


CONTROL = ("a:none", 0.3, 10.0, True)


def test_the_recommended_backbone_is_compared_with_the_best(selection):
    report = selection(("b", 0.81, 10.0, False), ("a", 0.80, 25.0, False), CONTROL).report()
    assert report.answer == (
        "Take a: a linear head on it has an accuracy of 80.0%. Its accuracy is within one standard error of "
        "the best (b, 81.0%), and it is 2.5 times as fast."
    )
    assert report.cautions == []
    assert "within one standard error (0.020)" in report.detail


def test_no_claim_about_speed_that_the_timings_do_not_show(selection):
    found = selection(("b", 0.81, 10.0, False), ("a", 0.80, 13.0, False), CONTROL)
    noise = {"slowest timing": 9.0, "fastest timing": 15.0}
    found.table = found.table.assign(**{"multiply-adds": [5e8, 4e8, 4e8]}, **noise)
    assert found.answer.endswith(
        "the best (b, 81.0%), and it needs 400.0 instead of 500.0 million multiply-adds; the timings cannot "
        "tell which of the two is faster."
    )
    best = selection(("a", 0.80, 10.0, False), ("b", 0.79, 9.0, False), CONTROL)
    best.table = best.table.assign(**{"multiply-adds": 4e8}, **noise)
    assert best.answer.endswith(
        "It is the most accurate, and none of the 2 backbones within one standard error is clearly faster."
    )


def test_the_best_alone_and_the_best_of_equals_are_distinguished(selection):
    alone = selection(("a", 0.80, 10.0, False), ("b", 0.70, 90.0, False), CONTROL)
    assert alone.answer.endswith("80.0%. No other pretrained backbone is within one standard error of it.")
    equals = selection(("a", 0.80, 10.0, False), ("b", 0.79, 9.0, False), CONTROL)
    assert equals.answer.endswith(
        "It is the most accurate, and the fastest of the 2 backbones within one standard error."
    )


def test_a_choice_that_does_not_beat_its_random_control_is_a_caution(selection):
    near = selection(("a", 0.80, 10.0, False), ("a:none", 0.79, 10.0, True))
    assert "not better than random weights (a:none, 79.0%)" in near.cautions[0]
    above = selection(("a:none", 0.85, 10.0, True), ("a", 0.80, 10.0, False))
    assert above.answer.endswith("but a:none, with random weights, has 85.0%.")
    assert "not better than random weights" in above.cautions[0]


def test_no_control_and_only_controls_are_cautions(selection):
    assert "a:none" in selection(("a", 0.8, 10.0, False)).cautions[0]
    only = selection(CONTROL, recommended="a:none")
    assert "Only random weights were measured" in only.cautions[0]


def test_what_was_left_out_and_noted_is_in_the_report(selection):
    found = selection(
        ("a", 0.8, 10.0, False),
        CONTROL,
        left_out={"c": "would take about 90 s"},
        notes=["The H-score is blind."],
    )
    report = found.report()
    [table] = report.sections[-1].blocks
    assert table.frame.to_dict("records") == [{"backbone": "c", "why": "would take about 90 s"}]
    assert report.cautions == [
        "1 backbone not measured, which may be better: see Left out.",
        "The H-score is blind.",
    ]
    assert found.metrics()["left_out"] == {"c": "would take about 90 s"}


def test_every_score_has_a_row_with_its_seconds(selection, titles):
    report = selection(("a", 0.8, 10.0, False), CONTROL).report()
    table = report.sections[1].blocks[-1].frame.set_index("score")
    assert table.columns.tolist() == ["seconds", "a", "a:none"]
    assert table.loc["logme"].tolist() == pytest.approx([0.1, 0.5, 0.5])
    assert titles(report) == ["Accuracy against cost", "Every score"]


def test_the_page_opens_without_a_network_and_its_figure_is_described(selection, page, stands_alone):
    text = page(selection(("a", 0.8, 10.0, False), CONTROL))
    assert len(stands_alone(text)) == 1
    assert "http" not in text
