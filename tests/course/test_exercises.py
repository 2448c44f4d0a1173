"""Every exercise: the right answer passes, wrong ones are told what is wrong, and never the answer."""

import re
import runpy
from numbers import Number
from pathlib import Path

import pytest

from tlkit.course.checks import check, hint, solution
from tlkit.course.exercises import all_exercises, exercise
from tlkit.course.lessons import lessons
from tlkit.errors import TlkitError, UnknownNameError, WrongAnswerError

FILES = sorted((Path(__file__).parent / "answers").glob("lesson_*.py"))
ANSWERS = {name: case for file in FILES for name, case in runpy.run_path(str(file))["ANSWERS"].items()}


@pytest.fixture(params=ANSWERS)
def task(request):
    return exercise(request.param)


@pytest.fixture
def case(task):
    return {"facts": {}} | ANSWERS[task.name]


def test_every_exercise_is_tried_here_and_set_in_its_lesson():
    set_in = []
    for lesson in lessons():
        for tag, function in (("exercise", "check"), ("solution", "solution")):
            cells = [each for each in lesson.notebook.cells if tag in each.metadata.get("tags", ())]
            called = [re.findall(rf'tlkit\.{function}\("([\d.]+)", \w+', cell.source) for cell in cells]
            assert all(len(each) == 1 for each in called), (
                f"{lesson.path.name}: a cell without its {function}"
            )
            set_in += [each[0] for each in called if tag == "exercise"]
    assert set_in == list(all_exercises()) == list(ANSWERS)


def test_the_right_answer_is_right_and_says_what_it_shows(task, case, monkeypatch):
    monkeypatch.setenv("TLKIT_STRICT", "1")
    done = check(task.name, case["right"], **case["facts"])
    assert done
    assert done.message == task.shows


def test_wrong_answers_are_wrong_and_every_mistake_is_known(task, case):
    """Each of the exercise's mistakes is made by one of the wrong answers; the rest are of a wrong type."""
    told = [check(task.name, each, **case["facts"]) for each in case["wrong"]]
    assert len(told) >= 2
    assert not any(told)
    assert {each.told for each in task.mistakes} <= {each.message for each in told}


def test_no_message_gives_the_answer_away(task, case):
    if isinstance(case["right"], Number) and not isinstance(case["right"], bool):
        numbers = re.findall(r"\d[\d.]*\b", " ".join([task.hint, *(each.told for each in task.mistakes)]))
        assert f"{case['right']:g}" not in numbers
    for each in task.mistakes:
        assert repr(case["right"]) not in each.told


def test_an_answer_that_was_not_given_is_neither_right_nor_wrong(task, monkeypatch):
    monkeypatch.setenv("TLKIT_STRICT", "1")
    done = check(task.name, None)
    assert (done.state, bool(done)) == ("not attempted", False)
    assert task.takes.description in done.message


def test_a_function_that_is_not_written_yet_is_neither_right_nor_wrong(own_exercises, monkeypatch):
    monkeypatch.setenv("TLKIT_STRICT", "1")
    done = check("03.1", lambda x: None)
    assert (done.state, "Write the missing line" in done.message) == ("not attempted", True)
    with pytest.raises(WrongAnswerError, match="the function returns None"):
        solution("03.1", lambda x: None)


def test_a_hint_is_not_what_the_check_says(task):
    assert hint(task.name).message == task.hint
    assert task.hint not in {each.told for each in task.mistakes} | {task.shows}


def test_strict_raises_what_is_wrong(monkeypatch, own_exercises):
    monkeypatch.setenv("TLKIT_STRICT", "1")
    with pytest.raises(WrongAnswerError, match=r"02\.3: Think again"):
        check("02.3", True)


def test_a_solution_that_is_wrong_or_missing_stops_the_lesson(own_exercises):
    assert solution("02.3", False)
    with pytest.raises(WrongAnswerError, match="does not pass its check"):
        solution("02.3", True)
    with pytest.raises(WrongAnswerError, match="there is no answer"):
        solution("02.3", None)


def test_an_unknown_exercise_names_the_nearest(own_exercises):
    for ask in (check, hint, solution):
        with pytest.raises(UnknownNameError, match=r"'02\.9'. Did you mean '02\."):
            ask("02.9", *([1] if ask is not hint else []))
    with pytest.raises(UnknownNameError, match="exercise"):
        check(5.2, 1)


def test_facts_of_another_cell_are_an_error_of_the_call_and_not_of_the_learner(own_exercises):
    with pytest.raises(TlkitError, match=r"02\.2 takes large, train, got model\. Copy the call"):
        check("02.2", 0.1, model=None)
    with pytest.raises(TlkitError, match=r"02\.3 takes the answer alone, got model"):
        check("02.3", True, model=None)


def test_a_function_of_the_learner_that_fails_is_told_how(own_exercises):
    done = check("03.1", lambda x: x.missing)
    assert "AttributeError" in done.message


def test_a_result_is_shown_without_running_what_the_learner_wrote(own_exercises):
    done = check("02.3", "<script>alert(1)</script>")
    assert "<script>" in repr(done)
    assert "<script>" not in done._repr_html_()
