"""Read solved lessons and check their structure, before copies are made of them."""

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from tlkit.errors import DataError

NUMBER = re.compile(r"^\*\*(\d{1,2})\.(\d+)\b", flags=re.M)  # **02.2 (modify).** begins an exercise
CALL = re.compile(r"\btlkit\.(?:check|hint|solution)\(\s*[\"']([^\"']*)[\"']")
TAGS = {"parameters", "exercise", "solution"}


@dataclass(frozen=True)
class ExerciseCells:
    """The cells of one exercise in a solved lesson.

    Attributes:
        number: of the exercise, such as `"02.2"`.
        check: index of the cell that checks the answer, tagged `exercise`.
        solution: index of the cell that solves the exercise, tagged `solution`.
    """

    number: str
    check: int
    solution: int


@dataclass(frozen=True)
class SolvedLesson:
    """A solved lesson whose structure was checked; `read_solved` makes it.

    Attributes:
        path: of the notebook, such as `notebooks/02_fine_tuning.ipynb`.
        notebook: the notebook in version 4 of the format.
        exercises: the cells of its exercises, in order.
    """

    path: Path
    notebook: nbformat.NotebookNode
    exercises: tuple[ExerciseCells, ...]


def read_solved(path: Path) -> SolvedLesson:
    """Read a solved lesson and check its structure.

    Raises:
        DataError: the file is not a notebook, two cells have the same identifier, a cell is not plain Python,
            an exercise has no number or no solution, or a solution has no exercise. The message names the
            cell.

    >>> from tlkit.course.lessons import lesson
    >>> [each.number for each in read_solved(lesson("02").path).exercises]
    ['02.1', '02.2', '02.3']
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:  # missing, not text, or not JSON
        raise DataError(
            f"{path} is not a readable notebook: {error}. Restore it, or leave it out."
        ) from error
    if not isinstance(content, dict) or content.get("nbformat") != 4 or not content.get("cells"):
        raise DataError(
            f"{path} is not a notebook of format version 4 with cells. Open it in JupyterLab and save it."
        )
    cells = _Cells(path.name, content["cells"])
    cells.check_identifiers()
    cells.check_format(content)
    notebook = nbformat.v4.reads(json.dumps(content))
    cells = _Cells(path.name, notebook.cells)
    cells.check_python()
    return SolvedLesson(path, notebook, cells.exercises())


@dataclass(frozen=True)
class _Cells:
    name: str  # of the file; its first two characters are the number of the lesson
    cells: list[Any]

    def error(self, index: int, problem: str) -> DataError:
        """Return an error that names a cell by its position, its identifier and its first line."""
        cell = self.cells[index]
        first = "".join(cell.get("source", "")).strip().partition("\n")[0][:60]
        place = f"cell {index + 1} of {len(self.cells)} (id {cell.get('id')!r}, {first!r})"
        return DataError(f"{self.name}, {place}: {problem}")

    def check_identifiers(self) -> None:
        for index, cell in enumerate(self.cells):
            if not isinstance(cell, dict) or not isinstance(cell.get("id"), str):
                place = f"{self.name}, cell {index + 1} of {len(self.cells)}"
                raise DataError(f"{place}: it has no id. Open the notebook in JupyterLab and save it.")
        counts = Counter(cell["id"] for cell in self.cells)
        for index, cell in reversed(list(enumerate(self.cells))):  # of two cells, the later one is the copy
            if counts[cell["id"]] > 1:
                raise self.error(index, "another cell has the same id. Delete the cell that is a copy.")

    def check_format(self, content: dict[str, Any]) -> None:
        try:
            nbformat.validate(content)
        except nbformat.ValidationError as error:
            problem, where = error.message.splitlines()[0][:200], list(error.absolute_path)
            if where[:1] == ["cells"] and len(where) > 1:
                advice = "Delete the cell, or write it again in JupyterLab."
                raise self.error(where[1], f"{problem}. {advice}") from error
            raise DataError(f"{self.name} is not a valid notebook: {problem}. Restore it.") from error

    def check_python(self) -> None:
        for index, cell in enumerate(self.cells):
            try:
                ast.parse(cell.source if cell.cell_type == "code" else "")
            except SyntaxError as error:
                problem = (
                    f"line {error.lineno} is not plain Python ({error.msg}). Correct or remove the line."
                )
                raise self.error(index, problem) from error

    def exercises(self) -> tuple[ExerciseCells, ...]:
        tags = [TAGS & set(cell.metadata.get("tags", ())) for cell in self.cells]
        if (count := sum("parameters" in each for each in tags)) != 1:
            raise DataError(
                f"{self.name} has {count} cells tagged 'parameters'; expected one, the cell that sets SEED."
            )
        found: dict[str, ExerciseCells] = {}
        for index, (cell, tag) in enumerate(zip(self.cells, tags, strict=True)):
            if tag and cell.cell_type != "code":
                raise self.error(index, f"this text cell has the tag {tag.pop()!r}. Remove the tag.")
            if not tag and cell.cell_type == "code" and CALL.search(cell.source):
                raise self.error(index, "it checks an answer, so tag it 'exercise' or 'solution'.")
            if "solution" in tag and not (index and "exercise" in tags[index - 1]):
                raise self.error(
                    index, "no cell tagged 'exercise' precedes this solution. Restore that cell."
                )
            if "exercise" in tag:
                exercise = ExerciseCells(self.number_before(index), index, index + 1)
                if exercise.number in found:
                    problem = f"two exercises have the number {exercise.number}. Change the number of one."
                    raise self.error(index - 1, problem)
                if "solution" not in (*tags, set())[exercise.solution]:
                    problem = (
                        f"no cell tagged 'solution' follows exercise {exercise.number}. Restore that cell"
                    )
                    raise self.error(
                        index, f"{problem}; in place of a student's copy, use the solved lesson."
                    )
                self.check_calls(exercise)
                found[exercise.number] = exercise
        return tuple(found.values())

    def number_before(self, index: int) -> str:
        """Return the number of an exercise, which is the last number in the text before its cell."""
        before, lesson = self.cells[max(index - 1, 0)], self.name[:2]
        found = NUMBER.findall(before.source) if before.cell_type == "markdown" else []
        example = f"such as **{lesson}.1 (recall).**"
        if not found:
            problem = f"this exercise has no number. Begin the text before it with a number {example}"
            raise self.error(index, problem)
        number = f"{int(found[-1][0]):02}.{found[-1][1]}"
        if number[:2] != lesson:
            problem = f"{number} does not belong to lesson {lesson}; expected a number {example}"
            raise self.error(index - 1, problem)
        return number

    def check_calls(self, exercise: ExerciseCells) -> None:
        for index in (exercise.check, exercise.solution):
            for other in set(CALL.findall(self.cells[index].source)) - {exercise.number}:
                raise self.error(
                    index,
                    f"the code names exercise {other!r}, but the text before it names {exercise.number!r}. "
                    "Use the same number in both.",
                )
