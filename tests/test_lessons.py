"""What every lesson promises its reader, whatever it teaches."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tlkit.course.opening import FILE, TAG, figures

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem, scope="module")
def path(request):
    return request.param


@pytest.fixture(scope="module")
def lesson(path):
    return nbformat.read(path, as_version=4)


def code(lesson, tag=None):
    cells = [cell for cell in lesson.cells if cell.cell_type == "code"]
    return [cell for cell in cells if tag is None or tag in cell.metadata.get("tags", ())]


def prose(lesson):
    return "\n\n".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")


def test_it_begins_with_a_question_and_the_picture_that_answers_it(path, lesson):
    first = lesson.cells[0]
    assert re.match(rf"# {path.name[:2]} · .+\?\n", first.source)
    assert f"](attachment:{FILE})" in first.source
    assert first.attachments[FILE]["image/png"] == figures(lesson, TAG)[-1]


def test_it_says_what_it_teaches_what_it_takes_and_whose_the_data_are(lesson):
    for promise in ("**You will be able to**", "**Before this**", "**Time**", "**Data**", "CC-BY"):
        assert promise in lesson.cells[0].source


def test_it_has_all_its_parts_in_order(lesson):
    parts = (
        "Predict first",
        "What can go wrong",
        "Exercises",
        "What you learned",
        "Recipe",
        "Further reading",
    )
    places = [prose(lesson).find(f"\n## {part}") for part in parts]
    assert places == sorted(places)
    assert places[0] > 0
    assert re.search(r"\*\*Next\*\*: ", prose(lesson))


def test_it_can_be_run_with_other_settings(lesson):
    [parameters] = code(lesson, "parameters")
    assert re.findall(r"^([A-Z]+) =", parameters.source, flags=re.M) == [
        "SEED",
        "FAST",
        "DATASET",
        "BACKBONE",
    ]


def test_it_is_short_enough_to_be_read(path, lesson):
    assert 15 <= len(code(lesson)) <= 22
    assert 900 <= len(re.sub(r"!\[.*?\)", "", prose(lesson)).split()) <= 1500
    assert 3 <= len(figures(lesson)) <= 5
    for cell in code(lesson):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 12, cell.source
        assert max(map(len, lines)) <= 104, "a page of a browser shows no more"
    assert path.stat().st_size < 1_000_000


def test_every_exercise_is_followed_by_its_solution(lesson):
    tags = [set(cell.metadata.get("tags", ())) & {"exercise", "solution"} for cell in code(lesson)]
    tags = [tag.pop() for tag in tags if tag]
    assert tags == ["exercise", "solution"] * (len(tags) // 2)
    assert 3 <= len(tags) // 2 <= 4


def test_it_is_executed_and_shows_no_log_line_and_no_path(path, lesson):
    counts = [cell.execution_count for cell in code(lesson)]
    assert counts == list(range(1, len(counts) + 1))
    for cell in code(lesson):
        assert all(output.get("name") != "stderr" for output in cell.outputs), cell.source
        assert not any(output.output_type == "error" for output in cell.outputs), cell.source
    assert not re.search(r"/(home|root|tmp|work|Users)/", path.read_text("utf-8"))


def test_it_takes_as_long_as_it_says(lesson):
    said = float(re.search(r"([\d.]+)\s+min\s+to\s+run", lesson.cells[0].source)[1])
    took = sum(cell.metadata.get("seconds", 0) for cell in code(lesson)) / 60
    assert abs(said - took) <= 0.5, "by `make execute` where nothing else runs"


def test_it_asserts_what_it_claims(lesson):
    asserting = [cell for cell in code(lesson) if "assert " in cell.source]
    not_exercises = [
        cell for cell in asserting if not {"exercise", "solution"} & set(cell.metadata.get("tags", ()))
    ]
    assert len(not_exercises) >= 3
    assert any("NBVAL_CHECK_OUTPUT" in cell.source for cell in code(lesson))


def test_its_recipe_runs_alone(lesson):
    """Every name in the last code cell is defined there; nbval runs it."""
    check = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "-"]
    done = subprocess.run(check, input=code(lesson)[-1].source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
