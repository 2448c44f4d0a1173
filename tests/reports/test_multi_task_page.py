"""The report of a run with several tasks: numbers that can be checked, a page that leaves nothing out."""

import json
import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from tlkit.reports.multi_task_page import constant, render, said

from tlkit.data import Card, Dataset, Split
from tlkit.experiments.train_tasks import TaskTraining
from tlkit.models import frozen_table
from tlkit.reports import report
from tlkit.techniques.multi_task import Classification, MultiLabel, Regression, build_multi_task

COMMAND = "tlkit train 'my <pictures>' --labels labels.csv"
TASKS = {
    "kind": Classification(["<b>cat</b>", "$x^{$"]),
    "marks": MultiLabel(["red", "round & big"]),
    "size (cm)": Regression(mean=10.0, deviation=4.0),
}


def experiment(count=20, *, weights=None, tasks=TASKS):
    """A run that was never trained: its answers are known."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 28, 28, 3)).astype("uint8")
    split = Split(images, None, [f"<i>{i}</i>.png" for i in range(count)])
    card = Card("mine", "My pictures", "", "CC0", "", "", [], {}, 28)
    skipped = ["<u>gone</u>.png: no such image"]
    data = Dataset(split, split, split, [], card, skipped)
    model = build_multi_task("LeNet", tasks, weights=None)
    run = TaskTraining(model, data, dict(tasks), "scratch", "LeNet", 3, "equal", frozen=frozen_table(model))
    kind = np.arange(count) % 2
    labels = {
        "kind": np.where(np.arange(count) < count // 4, -1, kind),
        "marks": np.stack([kind, 1 - kind], axis=1).astype("float32"),
        "size (cm)": np.linspace(0, 20, count)[:, None],
    }
    wrong = np.arange(count) % 5 == 0
    predictions = {
        "kind": np.eye(2)[np.where(wrong, 1 - kind, kind)] * 0.8 + 0.1,
        "marks": np.stack([kind, 1 - kind], axis=1) * 0.8 + 0.1,
        "size (cm)": labels["size (cm)"] + 3.0,
    }
    labels["size (cm)"][-1] = np.nan
    phase = {f"{name}_loss": [2.0, 1.0] for name in tasks} | {
        f"val_{name}_loss": [2.0, 1.5] for name in tasks
    }
    phase |= {"loss": [6.0, 3.0]}
    for name in tasks:
        phase[f"{name}_weight"] = [1.0, 1.0] if weights is None else [1.0, weights]
    run.history = {"scratch": phase}
    run.labels = {part: {name: labels[name] for name in tasks} for part in data.splits}
    run.predictions = {part: {name: predictions[name] for name in tasks} for part in data.splits}
    run.seconds = {"training": 65.0, "total": 70.0}
    return run


def page(run):
    return render(run, report.metrics(run, COMMAND))


@pytest.fixture(scope="module")
def run():
    return experiment()


@pytest.fixture(scope="module")
def text(run):
    return page(run)


def test_three_files_are_written_and_the_model_is_plain_keras(run, tmp_path):
    out = report.write(run, tmp_path / "run", command=COMMAND)
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "model.keras", "report.html"]
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert numbers == report.metrics(run, COMMAND)
    reopened = keras.models.load_model(out / "model.keras")
    answers = reopened.predict(run.data.test.images[:3], verbose=0)
    assert {name: each.shape for name, each in answers.items()} == {
        "kind": (3, 2),
        "marks": (3, 2),
        "size (cm)": (3, 1),
    }


def test_metrics_have_every_number(run):
    numbers = report.metrics(run, COMMAND)
    assert {"version", "command", "technique", "backbone", "seed", "data", "versions"} <= set(numbers)
    assert numbers["balancing"] == "equal"
    assert numbers["splits"] == {"train": 20, "validation": 20, "test": 20}
    assert numbers["skipped"]["count"] == 1
    kind, marks, size = numbers["tasks"].values()
    assert kind["kind"] == "classification"
    assert kind["labelled"] == {"train": 15, "validation": 15, "test": 15}
    assert kind["accuracy"]["test"] == pytest.approx(12 / 15)  # of rows 5 to 19 three are wrong
    assert kind["baseline"] == pytest.approx(8 / 15)
    assert kind["interval"]["low"] < 0.8 < kind["interval"]["high"]
    assert kind["interval"]["pictures"] == 15
    assert marks["accuracy"]["test"] == 1
    assert marks["interval"] is None
    assert marks["classes"] == ["red", "round & big"]
    assert size["error"]["test"] == pytest.approx(3.0)
    assert size["classes"] is None
    assert size["mean"] == 10.0
    json.dumps(numbers, allow_nan=False)


def test_the_page_says_each_result_against_the_best_constant_answer(text):
    assert "kind: 80 % right" in text
    assert "size (cm): off by 3" in text
    assert "always “none”: 50 %" in text
    assert "all losses with the same weight" in text


def test_everything_has_its_place(text):
    for said_there in (
        *(
            "Task by task",
            "The data",
            "How it learned",
            "What was frozen",
            "Time and versions",
            "Do it again",
        ),
        *("worst answers", "farthest from the truth", "1 file or row of the table took no part"),
        *("No mistake: every labelled test picture is right", "pictures with it"),
    ):
        assert said_there in text
    assert "How much each task counts" not in text  # the weights did not move
    assert "How much each task counts" in page(experiment(weights=0.5))


def test_names_that_look_like_html_are_text_and_nothing_is_asked_from_outside(text):
    assert "&lt;b&gt;cat&lt;/b&gt;" in text
    assert "&lt;u&gt;gone&lt;/u&gt;.png" in text
    assert not re.search(r"<(b|i|u|script)>", text)
    sources = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", text)
    assert len(sources) > 15
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    images = re.findall(r"<img [^>]*>", text)
    assert all(re.search(r'alt="[^"]{5,}"', image) for image in images)


def test_a_task_without_labels_on_the_judged_split_is_said():
    run = experiment()
    labels = run.labels["test"] | {"kind": np.full(20, -1), "size (cm)": np.full((20, 1), np.nan)}
    run.labels = run.labels | {"test": labels}
    numbers = report.metrics(run, COMMAND)
    assert numbers["tasks"]["kind"]["accuracy"]["test"] is None
    assert numbers["tasks"]["kind"]["baseline"] is None
    text = render(run, numbers)
    assert text.count("no test picture has a label") == 2
    json.dumps(numbers, allow_nan=False)


def test_without_test_and_validation_the_page_warns():
    run = experiment(tasks={"kind": TASKS["kind"]})
    run.data = replace(run.data, test=None, validation=None)
    numbers = report.metrics(run, COMMAND)
    assert numbers["splits"] == {"train": 20, "validation": None, "test": None}
    assert "This says nothing about new ones" in render(run, numbers)


def test_answers_in_words():
    assert said(TASKS["kind"], np.array(1)) == "$x^{$"
    assert said(TASKS["kind"], np.array(-1)) == "–"
    assert said(TASKS["kind"], np.array([0.9, 0.1])) == "<b>cat</b>"
    assert said(TASKS["marks"], np.array([0.0, 0.0])) == "none"
    assert constant(TASKS["kind"], np.array([1, 1, 0, -1, -1, -1])) == "$x^{$"
    assert constant(TASKS["size (cm)"], np.array([[1.0], [2.0], [np.nan], [90.0]])) == "2"
