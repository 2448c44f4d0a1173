"""One source, three notebooks: what differs between them, and nothing else."""

import ast
import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from click.testing import CliRunner
from nbclient import NotebookClient
from nbformat import v4 as new
from pushes import full

from tlkit.cli.course import course
from tlkit.course.build import TAG, build, notes, sections, solved_lessons, teacher
from tlkit.course.copies import code_that_prints, script, student
from tlkit.course.exercises import Mistake, all_exercises
from tlkit.course.lessons import lessons
from tlkit.course.solved import read_solved
from tlkit.errors import DataError, OutputError, UnknownNameError

PATHS = [each.path for each in lessons()]


@pytest.fixture(params=PATHS, ids=lambda path: path.stem, scope="module")
def lesson(request):
    return read_solved(request.param)


def code(notebook, without=()):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return "\n".join(cell.source for cell in cells if not set(without) & set(cell.metadata.get("tags", ())))


def undefined(source):
    ruff = [sys.executable, "-m", "ruff", "check", "--quiet", "--isolated", "--select", "F821", "-"]
    return subprocess.run(ruff, input=source, capture_output=True, text=True).stdout


def test_the_students_copy_differs_from_the_lesson_in_the_blanks_alone(lesson):
    copy = student(lesson)
    blank = {task.solution for task in lesson.exercises}
    assert len(copy.cells) == len(lesson.notebook.cells)
    for index, (given, solved) in enumerate(zip(copy.cells, lesson.notebook.cells, strict=True)):
        assert given.id == solved.id
        assert (given.source != solved.source) == (index in blank)
        assert (given.metadata != solved.metadata) == (index in blank)
        assert given.get("attachments") == solved.get("attachments")
        assert given.cell_type == "markdown" or (given.outputs, given.execution_count) == ([], None)
    assert copy.metadata == lesson.notebook.metadata


def test_the_student_gets_the_task_and_no_line_of_its_solution(lesson):
    copy = student(lesson)
    text = "\n".join(cell.source for cell in copy.cells)
    for task in lesson.exercises:
        source = copy.cells[task.solution].source
        assert re.match(rf"# Exercise {task.number}: your work here", source)
        assert f'tlkit.hint("{task.number}")' in source
        assert f'tlkit.check("{task.number}", ' in source
        assert all(line.startswith("# ") for line in source.splitlines())
        solved = lesson.notebook.cells[task.solution].source.splitlines()
        elsewhere = code(lesson.notebook, without=["solution"]).splitlines()
        secret = [line for line in solved if len(line) > 12 and line not in elsewhere]
        assert secret
        assert not set(secret) & set(text.splitlines())
    assert "tlkit.solution(" not in text


def test_the_students_code_needs_no_name_that_a_solution_defined(lesson):
    assert not undefined(code(student(lesson)))


def test_the_teachers_copy_is_the_lesson_with_a_plan_and_the_known_mistakes(lesson):
    mistakes = {name: each.mistakes for name, each in all_exercises().items()}
    copy = teacher(lesson, mistakes)
    added = [cell for cell in copy.cells if TAG in cell.metadata.get("tags", ())]
    assert [cell for cell in copy.cells if cell not in added] == lesson.notebook.cells
    nbformat.validate(copy)
    plan, *known = [cell.source for cell in added]
    for row in sections(lesson):
        assert f"| {row.title} |" in plan
    for task, text in zip(lesson.exercises, known, strict=True):
        assert task.number in text
        assert all(each.what in text and each.told in text for each in mistakes[task.number])


def test_every_lesson_has_talking_points_and_questions_for_the_class(lesson):
    said = notes(lesson.path.name[:2])
    assert 3 <= len(said["talking_points"]) <= 5
    assert len(said["questions"]) == 2
    assert said["loses_time"]
    for each in re.findall(r"\b\d\d\.\d\b", str(said)):
        assert each in [task.number for task in lesson.exercises]


def test_the_script_has_the_lessons_code_in_order_and_prints_what_it_shows(lesson):
    text = script(lesson)
    compile(text, lesson.path.name, "exec")
    _, *parts = re.split(r"\n\n(?=# %%)", text)
    cells = [part.removeprefix("# %%\n") for part in parts if part.startswith("# %%\n")]
    assert cells[1:-1] == [
        code_that_prints(cell) for cell in lesson.notebook.cells if cell.cell_type == "code"
    ]
    shown = [
        cell
        for cell in lesson.notebook.cells
        if cell.cell_type == "code" and any(each.output_type == "execute_result" for each in cell.outputs)
    ]
    for cell in shown:
        *before, plain = map(ast.dump, ast.parse(cell.source).body)
        *same, printed = ast.parse(code_that_prints(cell)).body
        assert list(map(ast.dump, same)) == before
        assert printed.value.func.id == "print"
        assert ast.dump(ast.Expr(printed.value.args[0])) == plain
    assert not undefined(text)


def test_minutes_are_summed_by_section(tmp_path):
    path = shutil.copy(PATHS[0], tmp_path)
    notebook = nbformat.read(path, as_version=4)
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code_cells:
        cell.metadata.pop("seconds", None)
    code_cells[-1].metadata.seconds = 30
    nbformat.write(notebook, path)
    rows = {row.title: row for row in sections(read_solved(path))}
    assert [title for title, row in rows.items() if row.running] == ["Recipe"]
    assert rows["Recipe"].running == 0.5
    assert [row.title for row in rows.values() if row.practising] == ["Exercises"]
    after = list(rows.values())
    assert after[1].start == after[0].reading


def test_a_plan_without_measured_seconds_says_so(tmp_path):
    from tlkit.course.build import plan

    path = shutil.copy(PATHS[0], tmp_path)
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("seconds", None)
    nbformat.write(notebook, path)
    assert "not measured" in plan(read_solved(path))
    notebook.cells[1].metadata.seconds = 6
    nbformat.write(notebook, path)
    assert "not measured" not in plan(read_solved(path))


def test_mistakes_of_an_exercise_stand_below_its_solution():
    lesson = read_solved(PATHS[0])
    copy = teacher(lesson, {"00.2": [Mistake("the wrong one", "Look again.", lambda answer: True)]})
    [at] = [i for i, cell in enumerate(copy.cells) if "the wrong one" in cell.source]
    assert copy.cells[at - 1].source == lesson.notebook.cells[lesson.exercises[1].solution].source


def test_build_writes_three_files_a_lesson_and_refuses_to_mix_them_with_others(tmp_path):
    written = build(tmp_path / "out", ["0", "02"])
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "student/00_start_here.ipynb",
        "teacher/00_start_here.ipynb",
        "script/00_start_here.py",
        "student/02_fine_tuning.ipynb",
        "teacher/02_fine_tuning.ipynb",
        "script/02_fine_tuning.py",
    ]
    assert [each.number for each in lessons(tmp_path / "out" / "teacher")] == ["00", "02"]
    with pytest.raises(OutputError, match="--overwrite"):
        build(tmp_path / "out", ["00"])
    build(tmp_path / "out", ["00"], overwrite=True)


def test_the_command_names_the_folders_and_the_cell_that_was_edited(tmp_path):
    (tmp_path / "mine").mkdir()
    path = shutil.copy(PATHS[0], tmp_path / "mine")
    options = ["build", "--notebooks", str(tmp_path / "mine"), "--out"]
    done = CliRunner().invoke(course, [*options, str(tmp_path / "out")])
    assert done.exit_code == 0
    assert done.output.startswith(f"3 files: {tmp_path / 'out' / 'student'}, ")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[4].source += "\n!pip list"
    nbformat.write(notebook, path)
    done = CliRunner().invoke(course, [*options, str(tmp_path / "again")])
    assert isinstance(done.exception, DataError)
    assert f"cell 5 of {len(notebook.cells)} (id '{notebook.cells[4].id}', " in str(done.exception)
    assert not (tmp_path / "again").exists()


def test_a_students_copy_is_no_source(tmp_path):
    build(tmp_path, ["00"])
    with pytest.raises(DataError, match="use the solved lesson"):
        build(tmp_path / "again", notebooks=tmp_path / "student")
    assert not (tmp_path / "again").exists()


def test_an_unknown_lesson_is_named(tmp_path):
    with pytest.raises(UnknownNameError, match="no lesson named '77'"):
        build(tmp_path, ["77"])
    with pytest.raises(DataError, match="has no lesson"):
        solved_lessons(notebooks=tmp_path)


def small_lesson():
    """Return a small lesson with two exercises, as a dictionary."""
    text, code = new.new_markdown_cell, new.new_code_cell
    cells = {
        "00": text("# 02 · Which layers?"),
        "01": code("import tlkit"),
        "02": code("SEED = 0", metadata={"tags": ["parameters"]}),
        "03": text("## 1. Stages"),
        "09": code("x = 1"),
    }
    for number, first in ((1, 26), (2, 29)):
        cells |= {
            f"{first}": text(f"**02.{number} (recall, 2 min).** How many?"),
            f"{first + 1}": code(f'a = None\ntlkit.check("02.{number}", a)', metadata={"tags": ["exercise"]}),
            f"{first + 2}": code(f'a = 1\ntlkit.solution("02.{number}", a)', metadata={"tags": ["solution"]}),
        }
    return new.new_notebook(cells=[cell | {"id": f"02-{name}"} for name, cell in cells.items()])


def edited(tmp_path, edit):
    """Edit a small lesson, cells by id, and read it."""
    content = json.loads(json.dumps(small_lesson()))
    cells = {cell["id"]: cell for cell in content["cells"]}
    edit(content, cells)
    path = tmp_path / "02_fine_tuning.ipynb"
    path.write_text(json.dumps(content), "utf-8")
    return read_solved(path)


def untag(cell):
    cell["metadata"]["tags"] = []


@pytest.mark.parametrize(
    ("edit", "cell", "says"),
    [
        (
            lambda content, cells: content["cells"].remove(cells["02-27"]),
            "02-28",
            "precedes this solution",
        ),
        (
            lambda content, cells: content["cells"].remove(cells["02-28"]),
            "02-27",
            "no cell tagged 'solution'",
        ),
        (lambda content, cells: content["cells"].remove(cells["02-26"]), "02-27", "has no number"),
        (lambda content, cells: untag(cells["02-27"]), "02-27", "tag it 'exercise'"),
        (lambda content, cells: cells["02-26"].update(source="**5 (recall).** How many?"), "02-27", "number"),
        (lambda content, cells: cells["02-26"].update(source="**6.1 (recall).**"), "02-26", "lesson 02"),
        (lambda content, cells: cells["02-29"].update(source="**2.1 (again).**"), "02-29", "two exercises"),
        (lambda content, cells: cells["02-27"].update(source='tlkit.check("02.3", 1)'), "02-27", "'02.3'"),
        (lambda content, cells: cells["02-29"]["metadata"].update(tags=["exercise"]), "02-29", "text cell"),
        (lambda content, cells: content["cells"].append(cells["02-09"]), "02-09", "same id"),
        (lambda content, cells: cells["02-09"].update(source="x = 1\n%matplotlib inline"), "02-09", "line 2"),
        (lambda content, cells: cells["02-09"].pop("outputs"), "02-09", "'outputs'"),
    ],
)
def test_an_edited_notebook_is_refused_and_the_cell_is_named(tmp_path, edit, cell, says):
    with pytest.raises(DataError, match=rf"02_fine_tuning.ipynb, cell \d+ of \d+ \(id '{cell}', ") as error:
        edited(tmp_path, edit)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda content, cells: untag(cells["02-02"]), "has 0 cells tagged 'parameters'"),
        (lambda content, cells: cells["02-03"].pop("id"), "cell 4 of 11: it has no id"),
        (lambda content, cells: content.update(nbformat=3), "not a notebook of format version 4"),
        (lambda content, cells: content.update(cells={}), "not a notebook of format version 4"),
        (lambda content, cells: content.update(metadata=1), "not a valid notebook"),
    ],
)
def test_what_is_wrong_with_the_whole_file_is_said(tmp_path, edit, says):
    with pytest.raises(DataError, match=says):
        edited(tmp_path, edit)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"cells": '])
def test_a_broken_file_is_no_notebook(tmp_path, content):
    path = tmp_path / "02_fine_tuning.ipynb"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a (readable )?notebook"):
        read_solved(path)


@full  # the lessons themselves run on every push
def test_the_students_copy_of_lesson_00_runs_untouched(tmp_path, monkeypatch):
    """With strict checks: what nobody attempted is not wrong."""
    monkeypatch.setenv("TLKIT_STRICT", "1")
    monkeypatch.setenv("TLKIT_PROGRESS", str(tmp_path))
    notebook = student(read_solved(PATHS[0]))
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    said = "\n".join(str(cell.get("outputs")) for cell in notebook.cells)
    assert said.count("not attempted") >= 3
