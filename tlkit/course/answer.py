"""A lesson begins with its question and the picture that answers it."""

from typing import Any

import nbformat
from nbconvert.preprocessors import Preprocessor

TAG, FILE = "answer", "answer.png"


class AnswerFirst(Preprocessor):
    """Copy the figure of the cell tagged `answer` into the first cell, as its attachment `answer.png`.

    `make execute` does this after it has run the lesson, so that the picture above the text is the one
    that the code below made. What differs with every execution and machine is dropped.
    """

    def preprocess(
        self, nb: nbformat.NotebookNode, resources: dict[str, Any]
    ) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
        """Return the executed notebook with its answer first, and the resources as they are."""
        nb.metadata.language_info = {"name": "python"}
        for cell in nb.cells:
            cell.metadata.pop("execution", None)
        if answers := figures(nb, TAG):
            nb.cells[0].attachments = {FILE: {"image/png": answers[-1]}}
        return nb, resources


def figures(nb: nbformat.NotebookNode, tag: str | None = None) -> list[str]:
    """Return the figures below the code cells, or only below those with a tag, as base64 PNG.

    >>> from nbformat.v4 import new_code_cell, new_notebook, new_output
    >>> shown = new_output("display_data", {"image/png": "iVBORw0KGgo="})
    >>> figures(new_notebook(cells=[new_code_cell(outputs=[shown])]))
    ['iVBORw0KGgo=']
    """
    return [
        output.data["image/png"]
        for cell in nb.cells
        if cell.cell_type == "code" and (tag is None or tag in cell.metadata.get("tags", ()))
        for output in cell.outputs
        if "image/png" in output.get("data", ())
    ]
