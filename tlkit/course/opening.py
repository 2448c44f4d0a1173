"""Show the images or the schematic of a lesson at the top of its notebook."""

from datetime import datetime
from typing import Any

import nbformat
from nbconvert.preprocessors import Preprocessor

TAG, FILE = "opening", "opening.png"


class OpeningPicture(Preprocessor):
    """Copy the figure of the cell tagged `opening` into the first cell, as its attachment `opening.png`.

    `make execute` applies it after it runs a lesson, so the figure above the text is the one that the code
    below drew. It shows the task or the idea, and never the result, which the learner first predicts. Each
    cell keeps its running time in seconds. Other metadata that changes with every execution is removed.
    """

    def preprocess(
        self, nb: nbformat.NotebookNode, resources: dict[str, Any]
    ) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
        """Return the executed notebook with its opening picture, and the resources unchanged."""
        nb.metadata.language_info = {"name": "python"}
        for cell in nb.cells:
            times = cell.metadata.pop("execution", {})
            if times:
                cell.metadata["seconds"] = seconds(times)
        if pictures := figures(nb, TAG):
            nb.cells[0].attachments = {FILE: {"image/png": pictures[-1]}}
        return nb, resources


def seconds(times: dict[str, str]) -> float:
    """Return the running time of a cell from the times that Jupyter recorded, rounded to 0.1 s.

    The result is 0 if the times are missing.

    >>> seconds({"iopub.status.busy": "2026-01-01T10:00:00.5Z", "iopub.status.idle": "2026-01-01T10:00:04Z"})
    3.5
    """
    if not {"iopub.status.busy", "iopub.status.idle"} <= set(times):
        return 0.0
    started, ended = (datetime.fromisoformat(times[f"iopub.status.{state}"]) for state in ("busy", "idle"))
    return round((ended - started).total_seconds(), 1)


def figures(nb: nbformat.NotebookNode, tag: str | None = None) -> list[str]:
    """Return the figures in the outputs of the code cells, or of those with a tag, as base64 PNG.

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
