"""A solved lesson, read and checked: what its copies are made from."""

import ast
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from tlkit.errors import DataError

NUMBER = re.compile(r"^\*\*(\d{1,2})\.(\d+)\b", flags=re.M)  # **05.2 (modify).** begins a task
CALL = re.compile(r"\btlkit\.(?:check|hint|solution)\(\s*[\"']([^\"']*)[\"']")
TAGS = {"parameters", "exercise", "solution"}


@dataclass(frozen=True)
class Task:
    """An exercise where it stands in its notebook.

    Attributes:
        number: such as `"05.2"`.
        exercise: index of the cell that checks the answer.
        solution: index of the cell that solves it.
    """

    number: str
    exercise: int
    solution: int


@dataclass(frozen=True)
class Solved:
    """A solved lesson; `read` makes it.

    Attributes:
        path: of the notebook, such as `notebooks/05_fine_tuning.ipynb`.
        notebook: in version 4 of the format.
        tasks: its exercises, in order.
    """

    path: Path
    notebook: nbformat.NotebookNode
    tasks: tuple[Task, ...]


def read(path: Path) -> Solved:
    """Read a solved lesson and check its structure.

    Raises:
        DataError: it is no notebook, an identifier occurs twice, a cell is no plain Python, an exercise has
            no number or no solution, or a solution no exercise. The message names the cell.

    >>> from tlkit.course.lessons import lesson
    >>> [task.number for task in read(lesson("05").path).tasks]
    ['05.1', '05.2', '05.3']
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:  # not there, not text, not JSON
        raise DataError(
            f"{path} is no notebook that can be read: {error}. Restore it, or leave it out."
        ) from error
    if not isinstance(content, dict) or content.get("nbformat") != 4 or not content.get("cells"):
        raise DataError(f"{path} is no notebook of version 4 with cells. Open and save it in JupyterLab.")
    cells = _Cells(path.name, content["cells"])
    cells.refuse_other_identifiers()
    cells.refuse_invalid(content)
    notebook = nbformat.v4.reads(json.dumps(content))
    cells = _Cells(path.name, notebook.cells)
    cells.refuse_no_python()
    return Solved(path, notebook, cells.tasks())


@dataclass(frozen=True)
class _Cells:
    name: str  # of the file; its first two characters are the lesson's number
    cells: list[Any]

    def wrong(self, index: int, what: str) -> DataError:
        """Return the error that names a cell by its place, its identifier and its first line."""
        cell = self.cells[index]
        first = "".join(cell.get("source", "")).strip().partition("\n")[0][:60]
        place = f"cell {index + 1} of {len(self.cells)} (id {cell.get('id')!r}, {first!r})"
        return DataError(f"{self.name}, {place}: {what}")

    def refuse_other_identifiers(self) -> None:
        for index, cell in enumerate(self.cells):
            if not isinstance(cell, dict) or not isinstance(cell.get("id"), str):
                place = f"{self.name}, cell {index + 1} of {len(self.cells)}"
                raise DataError(f"{place}: it has no id. Open and save the notebook in JupyterLab.")
        seen = Counter(cell["id"] for cell in self.cells)
        for index, cell in reversed(list(enumerate(self.cells))):  # of two, the later one is the copy
            if seen[cell["id"]] > 1:
                raise self.wrong(index, "another cell has the same id. Delete the one that is a copy.")

    def refuse_invalid(self, content: dict[str, Any]) -> None:
        try:
            nbformat.validate(content)
        except nbformat.ValidationError as error:
            what, where = error.message.splitlines()[0][:200], list(error.absolute_path)
            if where[:1] == ["cells"] and len(where) > 1:
                raise self.wrong(where[1], f"{what}. Delete it, or write it anew in JupyterLab.") from error
            raise DataError(f"{self.name} is no valid notebook: {what}. Restore it.") from error

    def refuse_no_python(self) -> None:
        for index, cell in enumerate(self.cells):
            try:
                ast.parse(cell.source if cell.cell_type == "code" else "")
            except SyntaxError as error:
                what = f"its line {error.lineno} is no plain Python ({error.msg}). Mend it, or take it out."
                raise self.wrong(index, what) from error

    def tasks(self) -> tuple[Task, ...]:
        tags = [TAGS & set(cell.metadata.get("tags", ())) for cell in self.cells]
        if (count := sum("parameters" in each for each in tags)) != 1:
            raise DataError(
                f"{self.name} has {count} cells tagged 'parameters', expected one: that with SEED."
            )
        found: dict[str, Task] = {}
        for index, (cell, tag) in enumerate(zip(self.cells, tags, strict=True)):
            if tag and cell.cell_type != "code":
                raise self.wrong(index, f"it is text, and tagged {tag.pop()!r}. Take the tag away.")
            if not tag and cell.cell_type == "code" and CALL.search(cell.source):
                raise self.wrong(index, "it checks an answer, so tag it 'exercise' or 'solution'.")
            if "solution" in tag and not (index and "exercise" in tags[index - 1]):
                raise self.wrong(index, "no cell tagged 'exercise' stands before this solution. Put it back.")
            if "exercise" in tag:
                task = Task(self.number_before(index), index, index + 1)
                if task.number in found:
                    raise self.wrong(index - 1, f"{task.number} is taken already. Give it another number.")
                if "solution" not in (*tags, set())[task.solution]:
                    what = (
                        f"no cell tagged 'solution' follows exercise {task.number}. Put it back; if this is"
                    )
                    raise self.wrong(index, f"{what} a student's copy, take the solved lesson.")
                self.refuse_other_numbers(task)
                found[task.number] = task
        return tuple(found.values())

    def number_before(self, index: int) -> str:
        """Return the number of an exercise: the last one in the text before it."""
        before, lesson = self.cells[max(index - 1, 0)], self.name[:2]
        found = NUMBER.findall(before.source) if before.cell_type == "markdown" else []
        example = f"such as **{lesson}.1 (recall).**"
        if not found:
            raise self.wrong(
                index, f"this exercise has no number. Begin the text before it with one {example}"
            )
        number = f"{int(found[-1][0]):02}.{found[-1][1]}"
        if number[:2] != lesson:
            raise self.wrong(index - 1, f"{number} is no exercise of lesson {lesson}, expected one {example}")
        return number

    def refuse_other_numbers(self, task: Task) -> None:
        for index in (task.exercise, task.solution):
            for other in set(CALL.findall(self.cells[index].source)) - {task.number}:
                raise self.wrong(
                    index, f"it speaks of exercise {other!r}, the text before of {task.number!r}."
                )
