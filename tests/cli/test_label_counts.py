"""`tlkit label-counts`: an experiment that can be interrupted and continued, and its files."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tlkit.errors import OutputError, TlkitError
from tlkit.experiments import label_counts as experiment

DATA = ("label-counts", "digits/optical", "--backbone", "LeNet", "--weights", "none")
SMALL = ("--sizes", "20,40,80,160,320", "--seeds", 2, "--technique", "scratch", "--workers", 1)


def predictions(labels, accuracy):
    """Return probabilities with this fraction of right answers."""
    predicted = np.where(np.arange(len(labels)) < accuracy * len(labels), labels, (labels + 1) % 10)
    return np.eye(10)[predicted]


@pytest.fixture
def trainings(monkeypatch):
    """What was trained, in place of training; after `stop_after` of them Ctrl-C is pressed."""
    known = SimpleNamespace(done=[], stop_after=99)

    def fit_classifier(data, technique, *, seed, **options):
        if len(known.done) >= known.stop_after:
            raise KeyboardInterrupt
        known.done.append((len(data.train), seed))
        accuracy = 0.95 - len(data.train) ** -0.5 + seed / 100
        return SimpleNamespace(probabilities={"test": predictions(data.test.labels, accuracy)})

    monkeypatch.setattr(experiment, "fit_classifier", fit_classifier)
    return known


@pytest.fixture
def measured(command):
    """Run the command into a folder, with more options."""
    return lambda out, *more: command(*DATA, "--out", out, *SMALL, *more)


def test_it_writes_a_table_numbers_and_a_report(trainings, measured, tmp_path, metrics):
    done = measured(tmp_path / "out", "--target-accuracy", 0.92)
    assert done.exit_code == 0, done.output
    assert "Training from scratch reaches 90% with 320 labels (95 % interval over 2 seeds: " in done.output
    assert "; for 92% about" in done.output
    assert "more are needed (95 % interval of the total: " in done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "metrics.json",
        "report.html",
        "results.csv",
    ]
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table["labels"].tolist() == [20, 20, 40, 40, 80, 80, 160, 160, 320, 320]
    found = metrics(tmp_path / "out")
    assert found["target_accuracy"] == 0.92
    assert len(found["results"]) == 10
    assert found["forecast"]["labels_needed"] > 320


def test_after_ctrl_c_it_says_how_to_continue_and_does(trainings, measured, tmp_path):
    trainings.stop_after = 4
    stopped = measured(tmp_path / "out")
    assert stopped.exit_code == 130
    assert "Interrupted by Ctrl-C. The same command with --resume continues." in stopped.output
    trainings.stop_after = 99
    for more, said in (((), "Pass --resume"), (("--resume", "--steps", 9), "steps None then and 9 now")):
        refused = measured(tmp_path / "out", *more)
        assert isinstance(refused.exception, TlkitError), refused.output
        assert said in str(refused.exception)
    assert len(trainings.done) == 4
    assert measured(tmp_path / "out", "--resume").exit_code == 0
    assert len(trainings.done) == 10
    assert len(set(trainings.done)) == 10


def test_results_are_not_overwritten_unless_asked(trainings, measured, tmp_path):
    assert measured(tmp_path / "out").exit_code == 0
    assert isinstance(measured(tmp_path / "out").exception, OutputError)
    assert measured(tmp_path / "out", "--overwrite").exit_code == 0
    assert len(trainings.done) == 20


def test_bad_input_is_refused_before_anything_is_trained(trainings, measured, tmp_path):
    for words, said in (
        (("--sizes", "20,many"), "no list of whole numbers"),
        (("--sizes", "0,20"), "0 is below 1"),
        (("--target-accuracy", 90), "not in the range"),
        (("--resume", "--overwrite"), "not both"),
        (("--technique", "distillation"), "'feature-extraction', 'fine-tuning', 'scratch'"),
    ):
        done = measured(tmp_path / "out", *words)
        assert done.exit_code == 2
        assert said in done.output
    done = measured(tmp_path / "out", "--sizes", "20,5000")
    assert "5000 of 1079 images" in str(done.exception)
    assert not trainings.done
