"""Commands that run in this process, and small data that several of them are tried on."""

import json

import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from tlkit.cli import cli
from tlkit.errors import TlkitError, TlkitWarning

LENET = ("--technique", "scratch", "--backbone", "LeNet", "--image-size", 28, "--epochs", 3)


def run(*words):
    """Run a command in this process; return click's result."""
    return CliRunner().invoke(cli, list(map(str, words)))


def refuse(*words):
    """Run a command in this process; return the message of the error with which it refuses."""
    result = run(*words)
    assert isinstance(result.exception, TlkitError), result
    return str(result.exception)


def numbers(folder):
    """Return what lies in the metrics.json of a folder."""
    return json.loads((folder / "metrics.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def command():
    """See `run`."""
    return run


@pytest.fixture(scope="session")
def refused():
    """See `refuse`."""
    return refuse


@pytest.fixture(scope="session")
def metrics():
    """See `numbers`."""
    return numbers


@pytest.fixture(scope="session")
def lenet():
    """Options that train a small network from random weights."""
    return LENET


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A folder of drawn shapes: 20 circles and 20 squares, and one file that is no image."""
    root = tmp_path_factory.mktemp("data") / "my shapes"
    for i in range(20):
        for name in ("circle", "square"):
            image = Image.new("RGB", (40, 40), (255, 255 - i, 255))
            box = (5 + i % 7, 5 + i % 5, 27 + i % 7, 27 + i % 5)
            draw = ImageDraw.Draw(image)
            (draw.ellipse if name == "circle" else draw.rectangle)(box, fill=(i, 0, 99))
            path = root / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    (root / "circle" / "broken.png").write_bytes(b"not an image")
    return root


@pytest.fixture(scope="session")
def trained(shapes, tmp_path_factory):
    """`tlkit train` on the shapes: its result and its folder."""
    out = tmp_path_factory.mktemp("runs") / "shapes"
    with pytest.warns(TlkitWarning, match=r"broken\.png"):
        done = run("train", shapes, "--out", out, *LENET, "--seed", 7)
    return done, out


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A table about the shapes: three columns, a row without a file, and three files without a row."""
    rows = ["file,form,left edge,marks"]
    for i in range(20):
        edge = "" if i % 5 == 0 else 5 + i % 7
        rows += [
            f"{form}/{i}.png,{form},{edge},{'early|round' if i < 9 else '-'}" for form in ("circle", "square")
        ]
    path = tmp_path_factory.mktemp("tables") / "labels.csv"
    path.write_text("\n".join([*rows[:-2], "square/99.png,square,7,-"]), "utf-8")
    return path


@pytest.fixture(scope="session")
def trained_on_table(shapes, table, tmp_path_factory):
    """`tlkit train-tasks` on the shapes and the table: its result, its folder, and its warnings."""
    out = tmp_path_factory.mktemp("runs") / "table"
    words = ("train-tasks", shapes, "--labels", table, "--out", out, *LENET, "--balancing", "uncertainty")
    with pytest.warns(TlkitWarning) as warned:
        done = run(*words)
    return done, out, [str(each.message) for each in warned]
