"""The report of a network with several tasks: numbers that can be checked, a page that leaves nothing out."""

import json
import re
from dataclasses import replace

import keras
import numpy as np
import pytest

from tlkit import write_report
from tlkit.data import Card, Dataset, Split
from tlkit.experiments.train_tasks import TaskTraining
from tlkit.models import frozen_table
from tlkit.reports.result import plain
from tlkit.reports.tasks import answer, constant
from tlkit.techniques.multi_task import Classification, MultiLabel, Regression, build_multi_task

COMMAND = "tlkit train-tasks 'my <images>' --labels labels.csv"
TASKS = {
    "kind": Classification(["<b>cat</b>", "$x^{$"]),
    "marks": MultiLabel(["red", "round & big"]),
    "size (cm)": Regression(mean=10.0, deviation=4.0),
}


def training(count=20, *, weights=None, tasks=TASKS):
    """Return a result without training, whose answers are known."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 28, 28, 3)).astype("uint8")
    split = Split(images, None, [f"<i>{i}</i>.png" for i in range(count)])
    card = Card("mine", "My images", "", "CC0", "", "", [], {}, 28)
    skipped = ["<u>gone</u>.png: no such image"]
    data = Dataset(split, split, split, [], card, skipped)
    model = build_multi_task("LeNet", tasks, weights=None)
    result = TaskTraining(
        model, data, dict(tasks), "scratch", "LeNet", 3, "equal", frozen=frozen_table(model)
    )
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
    result.history = {"scratch": phase}
    result.labels = {part: {name: labels[name] for name in tasks} for part in data.splits}
    result.predictions = {part: {name: predictions[name] for name in tasks} for part in data.splits}
    result.seconds = {"training": 65.0, "total": 70.0}
    return result


@pytest.fixture(scope="module")
def result():
    return training()


@pytest.fixture(scope="module")
def text(result, page):
    return page(result, COMMAND)


def test_the_model_is_written_with_the_report_and_is_plain_keras(result, tmp_path):
    out = write_report(result, tmp_path / "run", command=COMMAND)
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "model.keras", "report.html"]
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert numbers == numbers | plain(result.metrics())
    assert numbers["command"] == COMMAND
    reopened = keras.models.load_model(out / "model.keras")
    answers = reopened.predict(result.data.test.images[:3], verbose=0)
    assert {name: each.shape for name, each in answers.items()} == {
        "kind": (3, 2),
        "marks": (3, 2),
        "size (cm)": (3, 1),
    }


def test_metrics_have_every_number(result):
    numbers = result.metrics()
    assert {"technique", "backbone", "seed", "data", "interrupted"} <= set(numbers)
    assert numbers["balancing"] == "equal"
    assert numbers["evaluated"] == "test"
    assert numbers["splits"] == {"train": 20, "validation": 20, "test": 20}
    assert numbers["skipped"]["count"] == 1
    kind, marks, size = numbers["tasks"].values()
    assert kind["kind"] == "classification"
    assert kind["labelled"] == {"train": 15, "validation": 15, "test": 15}
    assert kind["accuracy"]["test"] == pytest.approx(12 / 15)  # of rows 5 to 19 three are wrong
    assert kind["baseline"] == pytest.approx(8 / 15)
    assert kind["interval"]["low"] < 0.8 < kind["interval"]["high"]
    assert kind["interval"]["images"] == 15
    assert marks["accuracy"]["test"] == 1
    assert marks["interval"] is None
    assert marks["classes"] == ["red", "round & big"]
    assert size["error"]["test"] == pytest.approx(3.0)
    assert size["classes"] is None
    assert size["mean"] == 10.0
    json.dumps(plain(numbers), allow_nan=False)


def test_the_page_says_each_result_against_the_best_constant_answer(text):
    assert "kind: 80 % right" in text
    assert "size (cm): error 3" in text
    assert "<td>none: 50 %</td>" in text
    assert "3 tasks by one network, equal weights" in text


def test_everything_has_its_place(text, page, result, titles):
    assert titles(result.report()) == [
        "Each task",
        "The data",
        "Training",
        *TASKS,
        "Frozen layers",
        "Files that were skipped",
    ]
    for said in (
        "Time and versions",
        "Repeat it",
        "The most certain mistakes",
        "The answers farthest from the truth",
        "1 file or row of the table could not be used",
        "No mistake: every labelled test image is right",
        "images with it",
    ):
        assert said in text
    assert "The weight of each task" not in text  # the weights did not move
    assert "The weight of each task" in page(training(weights=0.5))


def test_names_that_look_like_html_are_text_and_nothing_is_asked_from_outside(text, stands_alone):
    assert "&lt;b&gt;cat&lt;/b&gt;" in text
    assert "&lt;u&gt;gone&lt;/u&gt;.png" in text
    assert not re.search(r"<(b|i|u|script)>", text)
    assert len(stands_alone(text)) > 15


def test_a_task_without_labels_on_the_evaluated_split_is_said(titles):
    result = training()
    labels = result.labels["test"] | {"kind": np.full(20, -1), "size (cm)": np.full((20, 1), np.nan)}
    result.labels = result.labels | {"test": labels}
    numbers = result.metrics()
    assert numbers["tasks"]["kind"]["accuracy"]["test"] is None
    assert numbers["tasks"]["kind"]["baseline"] is None
    report = result.report()
    assert report.answer.count("no test image has a label") == 2
    assert "marks" in titles(report)
    assert "kind" not in titles(report)
    json.dumps(plain(numbers), allow_nan=False)


def test_a_task_may_be_called_like_a_term_of_the_data(page):
    result = training(tasks={"kind": TASKS["kind"]})
    for held in (result.tasks, *result.labels.values(), *result.predictions.values()):
        held["images"] = held["kind"]
    text = page(replace(result, history={}))
    assert "train 20, validation 20, test 20; read at 28 x 28 pixels" in text
    assert "<dt>task images</dt><dd>classification: " in text


def test_without_test_and_validation_the_page_warns(page):
    result = training(tasks={"kind": TASKS["kind"]})
    result.data = replace(result.data, test=None, validation=None)
    assert result.metrics()["splits"] == {"train": 20, "validation": None, "test": None}
    assert "The accuracy says nothing about new images" in page(result)


def test_answers_in_words():
    assert answer(TASKS["kind"], np.array(1)) == "$x^{$"
    assert answer(TASKS["kind"], np.array(-1)) == "–"
    assert answer(TASKS["kind"], np.array([0.9, 0.1])) == "<b>cat</b>"
    assert answer(TASKS["marks"], np.array([0.0, 0.0])) == "none"
    assert constant(TASKS["kind"], np.array([1, 1, 0, -1, -1, -1])) == "$x^{$"
    assert constant(TASKS["size (cm)"], np.array([[1.0], [2.0], [np.nan], [90.0]])) == "2"


@pytest.mark.parametrize("name", TASKS)
def test_no_constant_answer_is_better_on_the_training_images_than_the_one_that_is_named(name):
    task, rng = TASKS[name], np.random.default_rng(0)
    labels = {
        "kind": np.array([1, 1, 0, -1, -1, -1, 1]),
        "marks": np.array([[1, 0], [1, 0], [0, 0], [np.nan, 1], [np.nan, 1.0]]),
        "size (cm)": np.array([[1.0], [2], [3], [50], [np.nan], [60], [1]]),
    }[name]
    result = training(len(labels), tasks={name: task})
    result.labels = {split: {name: labels} for split in result.labels}
    best = result.baselines("train")[name]
    assert best == pytest.approx(task.baseline(labels, labels))
    sign = 1 if task.higher_is_better else -1
    for other in rng.uniform(0, 60 if task.kind == "regression" else 1, (50, task.outputs)):
        result.predictions = {"train": {name: np.tile(other.astype("float32"), (len(labels), 1))}}
        assert sign * result.measures("train")[name] <= sign * best + 1e-6
    result.predictions = {"train": {name: np.tile(task.constant(labels), (len(labels), 1))}}
    assert result.measures("train")[name] == pytest.approx(best)
