"""Start-up: what one waits for before anything happens, each time in a new process.

    .venv/bin/python benchmarks/speed/start_up.py

The peers are what tlkit stands on: the same import without tlkit, the help of click, and a script of plain
Keras that loads the same saved model and predicts the same image.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from measuring import Comparison, Report, main, take_turns

HELP = """
import click

@click.group()
def cli(): "Help."

@cli.command()
@click.option("--out")
def train(out): "Train."

cli(["--help"])
"""
PREDICT = """
import json, sys
import keras, numpy as np
from PIL import Image

model = keras.models.load_model(sys.argv[1])
size = model.input_shape[1:3]
image = np.asarray(Image.open(sys.argv[2]).convert("RGB").resize(size), "float32")
print(model.predict(image[None], verbose=0).argmax())
"""


def measure(full: bool) -> Report:
    report = Report("Start-up: import, help, and the first prediction")
    rounds = 11 if full else 5
    with tempfile.TemporaryDirectory() as folder:
        model, image = write_model(Path(folder))
        tlkit = str(Path(sys.executable).with_name("tlkit"))
        python = [sys.executable, "-c"]
        tables = {
            "import": {
                "tlkit": [*python, "import tlkit"],
                "nothing": [*python, ""],
                "import numpy": [*python, "import numpy"],
                "import keras": [*python, "import keras"],
            },
            "--help": {"tlkit": [tlkit, "--help"], "click alone": [*python, HELP]},
            "first prediction of a saved model": {
                "tlkit": [tlkit, "predict", model, image],
                "plain Keras": [*python, PREDICT, model, image],
            },
        }
        for title, commands in tables.items():
            seconds = take_turns({side: run(command) for side, command in commands.items()}, rounds)
            report.comparisons.append(Comparison(title, "s", "tlkit", seconds))
    return report


def write_model(folder: Path) -> tuple[str, str]:
    """Save a classifier of digits and one image."""
    from PIL import Image

    import tlkit

    digits = tlkit.load("digits/optical")
    result = tlkit.train(digits, technique="scratch", backbone="LeNet", epochs=1)
    tlkit.write_report(result, folder / "run", command="tlkit train")
    Image.fromarray(digits.test.images[0]).save(folder / "digit.png")
    return str(folder / "run" / "model.keras"), str(folder / "digit.png")


def run(command: list[str]) -> Callable[[], None]:
    """A job: the command as a new process."""

    def job() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return job


if __name__ == "__main__":
    main(measure)
