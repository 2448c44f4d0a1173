"""The command lists the problems, writes the report, and exits with 1 where there is an error."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from tlkit.cli.audit import audit
from tlkit.errors import DataError, OutputError, UnknownNameError


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(audit, [str(word) for word in words])


def test_the_command_exits_with_1_where_an_error_was_found(run, folder, tmp_path):
    (folder / "dog").rename(folder / "$dog$ <b>")
    shutil.copy(folder / "cat/0.png", folder / "$dog$ <b>/x.png")
    done = run(folder, "--backbone", "none", "--out", tmp_path / "out")
    assert done.exit_code == 1, done.output
    assert "error: identical images with different labels (1)" in done.output
    assert "$dog$ <b>/x.png and cat/0.png" in done.output
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_command_exits_with_0_where_there_is_no_error(run, folder):
    done = run(folder, "--backbone", "none")
    assert done.exit_code == 0, done.output
    assert "No error, but 1 thing to check." in done.output


def test_the_default_backbone_finds_a_wrong_label_and_writes_it_into_a_table(run, tmp_path):
    for number in range(40):
        kind = ("stripes", "squares")[number % 2]
        size = (64, 2) if kind == "stripes" else (8, 8)
        grey = np.random.default_rng(number).integers(0, 256, size, "uint8")
        path = tmp_path / "forms" / ("squares" if number == 6 else kind) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).resize((64, 64), Image.Resampling.NEAREST).save(path)
    done = run(tmp_path / "forms", "--image-size", 64, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "squares/6.png: squares, suggested stripes" in done.output
    suspects = pd.read_csv(tmp_path / "out" / "suspects.csv").fillna("")
    first = suspects.iloc[0]
    assert (first["file"], first["kind"]) == ("squares/6.png", "label")
    assert (first["label"], first["suggested"]) == ("squares", "stripes")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["check"]["better_than_chance"]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Warning: likely label errors" in page


def test_features_that_do_not_tell_the_classes_apart_are_reported(run, folder):
    done = run(folder, "--backbone", "LeNet", "--weights", "none", "--image-size", 28)
    assert done.exit_code == 0, done.output
    assert "Label errors and weak groups cannot be found" in done.output
    assert "likely label errors" not in done.output


def test_a_backbone_that_is_not_there_is_refused_before_anything_is_read(run, tmp_path):
    assert isinstance(run(tmp_path / "nowhere", "--backbone", "EfficentNetLite0").exception, UnknownNameError)


def test_the_command_refuses_a_folder_of_results_in_use_and_data_that_are_not_there(run, folder, tmp_path):
    assert isinstance(run(folder, "--out", folder).exception, OutputError)
    assert isinstance(run(tmp_path / "nowhere", "--backbone", "none").exception, DataError)
