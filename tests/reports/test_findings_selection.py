"""The page of a selection: its recommendation and its cautions follow from the table."""

import pandas as pd
import pytest
from tlkit.reports.findings_selection import findings

from tlkit.experiments.select import Selection


def selection(*rows, error=0.02, recommended="a", **more):
    """Rows of (name, probe, images per second, random)."""
    table = pd.DataFrame(rows, columns=["backbone", "linear-probe", "images per second", "random"])
    table = table.assign(parameters=1000, megabytes=0.004, optimal=True, logme=0.5)
    seconds = table[["backbone"]].assign(**{"linear-probe": 0.2, "logme": 0.1})
    return Selection(table, seconds, recommended, error, 300, **more)


TWIN = ("a:none", 0.3, 10.0, True)


def test_the_recommended_one_is_set_against_the_best(digits):
    found = findings(selection(("b", 0.81, 10.0, False), ("a", 0.80, 25.0, False), TWIN), digits)
    assert found.answer == (
        "Take a: a linear head on it is right in 80.0%, as good as b (81.0%) within the error of 300 images, "
        "and 2.5 times as fast."
    )
    assert found.cautions == []
    assert "within one standard error (0.020)" in found.detail


def test_the_best_alone_and_the_best_of_equals_are_told_apart(digits):
    alone = findings(selection(("a", 0.80, 10.0, False), ("b", 0.70, 90.0, False), TWIN), digits)
    assert alone.answer.endswith("right in 80.0%, and no other comes within one standard error.")
    equals = findings(selection(("a", 0.80, 10.0, False), ("b", 0.79, 9.0, False), TWIN), digits)
    assert equals.answer.endswith("the best, and the fastest of 2 that are as good within the error.")


def test_a_choice_that_does_not_beat_its_random_twin_is_a_caution(digits):
    near = selection(("a", 0.80, 10.0, False), ("a:none", 0.79, 10.0, True))
    assert "not better than random weights (a:none, 79.0%)" in findings(near, digits).cautions[0]
    above = selection(("a:none", 0.85, 10.0, True), ("a", 0.80, 10.0, False))
    found = findings(above, digits)
    assert found.answer.endswith("but a:none is right in 85.0%, with random weights.")
    assert "not better than random weights" in found.cautions[0]


def test_no_control_and_only_controls_are_cautions(digits):
    assert "a:none" in findings(selection(("a", 0.8, 10.0, False)), digits).cautions[0]
    only = findings(selection(TWIN, recommended="a:none"), digits)
    assert "Only random weights were measured" in only.cautions[0]


def test_what_was_left_out_and_noted_stands_on_the_page(digits):
    given = selection(
        ("a", 0.8, 10.0, False),
        TWIN,
        left_out={"c": "would take about 90 s"},
        notes=["The H-score is blind."],
    )
    found = findings(given, digits)
    assert found.parts[-1].table.to_dict("records") == [{"backbone": "c", "why": "would take about 90 s"}]
    assert found.cautions == ["1 left out, and perhaps better: see below.", "The H-score is blind."]
    assert found.numbers["left_out"] == {"c": "would take about 90 s"}


def test_every_score_has_a_row_with_its_seconds(digits):
    found = findings(selection(("a", 0.8, 10.0, False), TWIN), digits)
    table = found.parts[1].table.set_index("score")
    assert table.columns.tolist() == ["seconds", "a", "a:none"]
    assert table.loc["logme"].tolist() == pytest.approx([0.1, 0.5, 0.5])
    assert [part.title for part in found.parts] == ["Accuracy against cost", "Every score"]
