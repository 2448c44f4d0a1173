"""The progress of a learner is recorded on this machine, and reported as it was."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from tlkit import write_report
from tlkit.course import check, hint, progress, record, solution
from tlkit.course.card import ProgressCard
from tlkit.course.progress_tables import exercise_table, prediction_table
from tlkit.errors import TlkitWarning, UnknownNameError


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch, own_exercises):
    monkeypatch.setenv("TLKIT_PROGRESS", str(tmp_path / "progress"))
    return tmp_path / "progress"


def row(exercise):
    return exercise_table(progress.events()).set_index("exercise").loc[exercise]


def test_tries_count_up_to_the_first_right_answer():
    for answer in (None, True, True, False, True):
        check("02.3", answer)
    assert (row("02.3").state, row("02.3").tries) == ("passed", 3)
    assert row("02.1").state == "open"


def test_who_saw_the_solution_first_has_not_passed():
    solution("02.3", False)
    check("02.3", False)
    assert row("02.3").state == "solution shown"
    check("02.1", 4)
    solution("02.1", 4)
    assert row("02.1").state == "passed"


def test_hints_are_counted_and_wrong_answers_are_tries():
    hint("02.1"), hint("02.1"), check("02.1", 5)
    assert (row("02.1").state, row("02.1").hints, row("02.1").tries) == ("tried", 2, 1)


def test_predictions_are_kept_beside_what_came_out_with_the_figure():
    plt.figure().subplots().plot([1, 2])
    record("02", {"scratch": 0.5, "frozen": 0.8}, pd.Series({"scratch": 0.6, "frozen": 0.7, "other": 0.1}))
    table = pd.DataFrame({"scratch": {1: 0.3, 30: 0.9}, "frozen": {1: 0.5, 30: 0.7}})
    plt.close("all")
    record("03", {"scratch": {1: 0.2, 30: None}, "frozen": None}, table)
    record("03", {"scratch": {1: 0.4}}, table)  # the last run counts
    found = prediction_table(progress.events())
    assert found.values.tolist() == [
        ["02", "scratch", "accuracy", 0.5, 0.6, pytest.approx(0.1)],
        ["02", "frozen", "accuracy", 0.8, 0.7, pytest.approx(-0.1)],
        ["03", "scratch, 1", "accuracy", 0.4, 0.3, pytest.approx(-0.1)],
    ]
    assert [bool(each["figure"]) for each in progress.events()] == [True, False, False]


def test_a_prediction_of_something_else_is_left_out_and_said():
    with pytest.warns(TlkitWarning, match="Nothing was measured for thawed"):
        record("02", {"thawed": 0.5, "frozen": 0.5}, {"frozen": 0.7})
    assert prediction_table(progress.events())["arm"].to_list() == ["frozen"]
    with pytest.raises(UnknownNameError, match="lesson named '5'"):
        record("5", {}, {})


def test_lessons_that_write_at_once_lose_nothing():
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: progress.note("hint", exercise="02.1", padding="x" * 5000, i=i), range(200)))
    assert sorted(each["i"] for each in progress.events()) == list(range(200))


def test_a_broken_line_costs_itself_alone(own):
    check("02.3", False)
    with (own / progress.EVENTS).open("a") as file:
        file.write('{"kind": "che\n')
    hint("02.3")
    with pytest.warns(TlkitWarning, match="Left out 1 unreadable line of"):
        assert [each["kind"] for each in progress.events()] == ["check", "hint"]


def test_a_disk_that_takes_nothing_costs_only_the_progress(own):
    own.write_text("a file where the folder should be")
    with pytest.warns(TlkitWarning, match="not saved.*TLKIT_PROGRESS"):
        assert check("02.3", False)


def test_the_card_says_what_the_events_say(tmp_path):
    check("02.3", False), hint("02.1"), solution("02.1", 4)
    plt.figure().subplots().plot([1, 2])
    record("02", {"scratch": 0.5}, {"scratch": 0.6})
    plt.close("all")
    card = ProgressCard(progress.events(), "Ada <Lovelace>")
    assert card.answer.startswith(f"1 of {len(exercise_table([]))} exercises passed; 1 of ")
    assert "1 hint used, 1 solution shown" in card.report().detail
    assert card.report().cautions == []
    out = write_report(card, tmp_path / "card", command="tlkit course report")
    page = (out / "report.html").read_text("utf-8")
    assert "Ada &lt;Lovelace&gt;" in page
    assert page.count("data:image/png") == 3
    assert all(re.search(r'alt="[^"]{5,}"', image) for image in re.findall(r"<img [^>]*>", page))
    assert "http" not in page
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert numbers["answer"] == card.answer
    assert numbers["predictions"][0]["error"] == pytest.approx(0.1)
    assert {row["exercise"]: row["state"] for row in numbers["exercises"]}["02.3"] == "passed"


def test_a_card_of_nothing_says_so():
    assert "Nothing is recorded yet" in ProgressCard([]).report().cautions[0]
