"""`tlkit study dataset-size`: a study that can be stopped, and its files."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from tlkit.cli import cli
from tlkit.errors import OutputError, TlkitError
from tlkit.experiments import train as run

STUDY = ("study", "dataset-size", "digits/optical", "--backbone", "LeNet", "--weights", "none")
SMALL = ("--sizes", "20,40,80,160,320", "--seeds", "2", "--technique", "scratch", "--workers", "1")


@pytest.fixture
def trainings(monkeypatch):
    """What was trained, in place of training; `stop_after` of them Ctrl-C is pressed."""
    done = []
    done_and_stop = type("Trainings", (), {"done": done, "stop_after": 99})()

    def train(data, **options):
        if len(done) >= done_and_stop.stop_after:
            raise KeyboardInterrupt
        done.append((len(data.train), options["seed"]))
        accuracy = 0.95 - len(data.train) ** -0.5 + options["seed"] / 100
        return type("Run", (), {"accuracy": lambda self, split: accuracy})()

    monkeypatch.setattr(run, "train", train)
    return done_and_stop


def study(out, *more):
    return CliRunner().invoke(cli, [*STUDY, "--out", str(out), *SMALL, *more])


def test_it_writes_a_table_numbers_and_a_page(trainings, tmp_path):
    result = study(tmp_path / "out", "--accuracy", "0.92")
    assert result.exit_code == 0, result.output
    assert "Training from scratch reaches 90% with 320 labels; for 92% it would take about" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "metrics.json",
        "report.html",
        "results.csv",
    ]
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table["labels"].tolist() == [20, 20, 40, 40, 80, 80, 160, 160, 320, 320]
    numbers = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert numbers["aim"] == 0.92
    assert len(numbers["results"]) == 10
    assert numbers["forecast"]["labels_for_aim"] > 320


def test_after_ctrl_c_it_says_how_to_go_on_and_does(trainings, tmp_path):
    trainings.stop_after = 4
    stopped = study(tmp_path / "out")
    assert stopped.exit_code == 130
    assert "with --resume goes on" in stopped.output
    trainings.stop_after = 99
    for more, said in (((), "Pass --resume"), (("--resume", "--steps", "9"), "steps None then and 9 now")):
        refused = study(tmp_path / "out", *more)
        assert isinstance(refused.exception, TlkitError), refused.output
        assert said in str(refused.exception)
    assert len(trainings.done) == 4
    assert study(tmp_path / "out", "--resume").exit_code == 0
    assert len(trainings.done) == 10
    assert len(set(trainings.done)) == 10


def test_results_are_not_overwritten_unless_asked(trainings, tmp_path):
    assert study(tmp_path / "out").exit_code == 0
    assert isinstance(study(tmp_path / "out").exception, OutputError)
    assert study(tmp_path / "out", "--overwrite").exit_code == 0
    assert len(trainings.done) == 20


def test_bad_input_is_refused_before_anything_is_trained(trainings, tmp_path):
    for words, said in (
        (("--sizes", "20,many"), "no list of whole numbers"),
        (("--sizes", "0,20"), "0 is below 1"),
        (("--accuracy", "90"), "not in the range"),
        (("--resume", "--overwrite"), "not both"),
    ):
        result = study(tmp_path / "out", *words)
        assert result.exit_code == 2
        assert said in result.output
    result = study(tmp_path / "out", "--sizes", "20,5000")
    assert "5000 of 1079 images" in str(result.exception)
    assert not trainings.done
