"""Make the student's copy and the plain script of a solved lesson."""

import ast
import re
import textwrap
from copy import deepcopy

import nbformat

from tlkit.course.opening import FILE
from tlkit.course.solved import SolvedLesson

OPENING_PICTURE = re.compile(rf"^!\[[^\]]*\]\(attachment:{re.escape(FILE)}\)$", flags=re.M)

BLANK = """\
# Exercise {number}: your work here. Then remove the "#" before tlkit.check, and run this cell.
# tlkit.hint("{number}")
{check}"""

HEAD = '''\
"""{title}

This is the lesson as a script, with its solutions. The script saves its figures in the folder {stem}.
"""

# %%
import matplotlib

matplotlib.use("Agg")  # figures become files; no window opens'''

TAIL = """\
# %%
from pathlib import Path

import matplotlib.pyplot

folder = Path(__file__).with_suffix("")
folder.mkdir(exist_ok=True)
for figure in map(matplotlib.pyplot.figure, matplotlib.pyplot.get_fignums()):
    figure.savefig(folder / f"{figure.number}.png", bbox_inches="tight")
"""


def student(lesson: SolvedLesson) -> nbformat.NotebookNode:
    """Return the student's copy: without outputs, and with an empty work cell in place of each solution.

    Nothing else differs, not even the identifiers of the cells.

    >>> from tlkit.course.lessons import lesson
    >>> from tlkit.course.solved import read_solved
    >>> solved = read_solved(lesson("02").path)
    >>> print(student(solved).cells[solved.exercises[1].solution].source)
    # Exercise 02.2: your work here. Then remove the "#" before tlkit.check, and run this cell.
    # tlkit.hint("02.2")
    # tlkit.check("02.2", between)
    """
    notebook = deepcopy(lesson.notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for exercise in lesson.exercises:
        cell = notebook.cells[exercise.solution]
        check = first_call(notebook.cells[exercise.check].source, "tlkit.check")
        cell.source = BLANK.format(number=exercise.number, check=textwrap.indent(check, "# ")).rstrip()
        cell.metadata = nbformat.NotebookNode(tags=["work"])
    return notebook


def first_call(code: str, function: str) -> str:
    """Return the source text of the first call of a function in some code, or `""` if there is none.

    >>> first_call("a = f(1)\\nif a:\\n    g.h(a, b=2)", "g.h")
    'g.h(a, b=2)'
    """
    calls = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    found = (ast.get_source_segment(code, node) for node in calls if ast.unparse(node.func) == function)
    return next(found, None) or ""


def script(lesson: SolvedLesson) -> str:
    """Return the solved lesson as a script in the percent format, which editors show as cells.

    The script runs without a display. It prints the values that the executed notebook shows below its cells.
    """
    title = lesson.notebook.cells[0].source.partition("\n")[0].lstrip("# ")
    parts = [HEAD.format(title=title.replace("\\", "/").replace('"', "'"), stem=lesson.path.stem)]
    for cell in lesson.notebook.cells:
        if cell.cell_type == "code":
            parts.append(f"# %%\n{code_that_prints(cell)}")
        elif cell.cell_type == "markdown":
            prose = OPENING_PICTURE.sub("(The script saves this figure with the others.)", cell.source)
            text = textwrap.indent(prose, "# ", predicate=lambda line: True)
            parts.append("# %% [markdown]\n" + re.sub(r" +$", "", text, flags=re.M))
    return "\n\n".join([*parts, TAIL])


def code_that_prints(cell: nbformat.NotebookNode) -> str:
    """Return the code of an executed cell, which prints its last expression if the notebook shows its value.

    >>> from nbformat.v4 import new_code_cell, new_output
    >>> print(code_that_prints(new_code_cell("a = 1\\na + 1  # two", outputs=[new_output("execute_result")])))
    a = 1
    print(a + 1)  # two
    """
    last = (ast.parse(cell.source).body or [None])[-1]
    shown = any(output.output_type == "execute_result" for output in cell.outputs)
    if not shown or not isinstance(last, ast.Expr) or last.col_offset or not last.end_lineno:
        return cell.source
    lines = cell.source.split("\n")
    end = lines[last.end_lineno - 1].encode()  # the offset counts bytes
    before, after = end[: last.end_col_offset].decode(), end[last.end_col_offset :].decode()
    lines[last.end_lineno - 1] = f"{before}){after}"
    lines[last.lineno - 1] = f"print({lines[last.lineno - 1]}"
    return "\n".join(lines)
