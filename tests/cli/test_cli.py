"""The command line as a user meets it: in its own process, with exit codes, and without log lines."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from pushes import full

from tlkit.cli import cli
from tlkit.cli.train import trained

TLKIT = Path(sys.executable).with_name("tlkit")
LOG_LINES = ("I0000", "E0000", "WARNING", "Traceback", "cuda")


def test_help_says_in_a_line_what_each_command_does(command):
    lines = command("--help").output.partition("Commands:")[2].splitlines()
    explained = {words[0] for words in map(str.split, lines) if len(words) > 3}
    assert set(cli.commands) <= explained


def test_an_error_is_one_line_without_a_traceback(tmp_path, lenet):
    words = [TLKIT, "train", tmp_path / "nowhere", "--out", tmp_path / "run", *lenet]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "no folder at" in done.stderr


def test_ctrl_c_keeps_the_best_model_and_the_screen_shows_no_log_lines(
    shapes, tmp_path, command, metrics, lenet
):
    words = [TLKIT, "train", shapes, "--out", tmp_path / "run", *lenet[:-1], "3000"]
    with (tmp_path / "stderr").open("w") as errors:
        process = subprocess.Popen(
            list(map(str, words)),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        shown = []
        for line in process.stdout:
            shown.append(line)
            if line.startswith("Epoch 3/"):
                process.send_signal(signal.SIGINT)
                break
        shown.append(process.communicate(timeout=120)[0])
    assert process.returncode == 130
    found, said = metrics(tmp_path / "run"), (tmp_path / "stderr").read_text()
    assert found["interrupted"] is True
    assert f"'{shapes}'" in found["command"]  # the space in the folder's name is quoted
    assert command("predict", tmp_path / "run", shapes / "square" / "1.png").exit_code == 0
    assert "Note: " in said
    assert "broken.png" in said
    assert "Interrupted by Ctrl-C: the best model until then was written." in said
    for line in LOG_LINES:
        assert line not in said + "".join(shown)


DEMO = {"data": "digits/optical", "labels": 4, "image_size": 32, "epochs": 1, "seed": 0}


def test_the_demo_trains_on_few_labels_of_each_class(tmp_path):
    """One of the trainings of the demo, on small images; `make test-full` runs the command."""
    found = trained("fine-tuning", state=tmp_path, **DEMO)
    assert np.bincount(found.data.train.labels).tolist() == [4] * 10
    assert found.data.validation is None
    assert found.tuning.folds == 2
    assert found.accuracy("test") > 0.2, "chance is 0.1"


@full
def test_the_demo_compares_frozen_fine_tuned_and_scratch(tmp_path):
    words = [TLKIT, "demo", "--out", tmp_path / "demo", "--image-size", "64", "--epochs", "2"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert metrics["data"] == "solar"
    assert metrics["splits"]["train"] == 100
    assert {each["technique"] for each in metrics["runs"]} >= {"scratch"}
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000
