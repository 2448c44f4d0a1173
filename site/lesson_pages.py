"""How a lesson is read for the site: solutions folded, figures described, other lessons linked."""

import re

import nbformat

from tlkit.course.lessons import lessons
from tlkit.course.opening import FILE


def read(text: str) -> nbformat.NotebookNode:
    """Return a notebook as myst-nb shall show it; the file itself, to be downloaded, stays as it is."""
    notebook = nbformat.reads(text, as_version=4)
    titles = {lesson.path.stem for lesson in lessons()}
    number = notebook.cells[0].source.removeprefix("# ")[:2]
    # sphinx knows no attachments; the same picture is on the card of the lesson
    notebook.cells[0].source = notebook.cells[0].source.replace(
        f"attachment:{FILE}", f"../pictures/{number}.png"
    )
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        tags = cell.metadata.setdefault("tags", [])
        if cell.cell_type == "markdown":
            cell.source = linked(cell.source, titles)
            continue
        described = caption(following) or f"Figure of the cell that begins: {cell.source[:60]}"
        shown = {**cell.metadata.get("mystnb", {}), "image": {"alt": described}}
        if "solution" in tags:
            tags.append("hide-cell")
            shown |= {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
        cell.metadata["mystnb"] = nbformat.from_dict(shown)
    return notebook


def caption(cell: nbformat.NotebookNode | None) -> str:
    """Return the text of the caption, in italics, with which the cell below a figure begins, or "".

    >>> from nbformat.v4 import new_markdown_cell
    >>> caption(new_markdown_cell("*Left `a`,\\nright b.*\\n\\n**How to read it.** ..."))
    'Left a, right b.'
    """
    found = re.match(r"\*(?!\*)(.+?)(?<!\*)\*(?!\*)", cell.source, re.DOTALL) if cell else None
    return " ".join(found[1].replace("`", "").split()) if found else ""


def linked(source: str, titles: set[str]) -> str:
    """Return Markdown in which the names of lessons lead to them.

    >>> linked("First `04_overfitting`, then 05_other.", {"04_overfitting"})
    'First [04 overfitting](04_overfitting.ipynb), then 05_other.'
    """

    def link(found: re.Match[str]) -> str:
        name = found[2]
        return f"[{name.replace('_', ' ')}]({name}.ipynb)" if name in titles else found[0]

    return re.sub(r"(`|\b)(\d\d_[a-z_]+)\1(?!\.ipynb)", link, source)
