"""The report of a classifier: numbers that can be checked, and a page that leaves nothing out."""

import html
import json
import re
from dataclasses import replace

import keras
import numpy as np
import pytest

from tlkit import evaluate, write_report
from tlkit.data import Card, Dataset, Split, load
from tlkit.experiments.train import Training
from tlkit.models import attach_head, build_classifier, frozen_table
from tlkit.reports.result import plain

COMMAND = "tlkit train 'my <images>' --seed 0"
PHASE = {"accuracy": [0.3, 0.6], "loss": [2.0, 1.0], "val_accuracy": [0.4, 0.5], "val_loss": [2.0, 1.5]}


def training(data, *, right=0.8, technique="scratch", seed=0, model=None):
    """Return a result without training: it knows the answer for some of the images, and guesses the rest."""
    classes = len(data.class_names)
    model = model or build_classifier("LeNet", classes, weights=None, image_size=data.image_size)
    result = Training(model, data, technique, "LeNet", seed, {"scratch": PHASE}, frozen=frozen_table(model))
    result.seconds = {"training": 65.0, "total": 70.0}
    rng = np.random.default_rng(seed)
    for name, split in data.splits.items():
        probabilities = rng.dirichlet(np.ones(classes), len(split)).astype("float32")
        known = np.flatnonzero(rng.random(len(split)) < right)
        probabilities[known, split.labels[known]] += 1
        result.probabilities[name] = probabilities / probabilities.sum(axis=1, keepdims=True)
    return result


def random_data(names, count=40, **changes):
    rng = np.random.default_rng(0)
    labels = np.arange(count) % len(names)
    split = Split(rng.integers(0, 256, (count, 16, 16, 3)).astype("uint8"), labels)
    card = Card("mine", "My images", "", "CC0", "", "", list(names), {}, 16)
    return replace(Dataset(split, split, split, list(names), card), **changes)


@pytest.fixture(scope="module")
def digits():
    data = load("digits/optical")
    few = {name: split.subset(slice(0, 60)) for name, split in data.splits.items()}
    return replace(data, **few)


@pytest.fixture(scope="module")
def result(digits):
    return training(digits)


@pytest.fixture(scope="module")
def text(result, page):
    return page(replace(result, others=[training(result.data, technique="fine-tuning")]), COMMAND)


def test_the_model_is_written_with_the_report_and_can_be_opened(result, tmp_path):
    out = write_report(result, tmp_path / "runs" / "demo", command=COMMAND)
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "model.keras",
        "predictions.csv",
        "report.html",
    ]
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert numbers == numbers | plain(result.metrics())
    assert numbers["command"] == COMMAND
    reopened = keras.models.load_model(out / "model.keras")
    images = result.data.test.images[:3]
    np.testing.assert_allclose(
        reopened.predict(images, verbose=0), result.model.predict(images, verbose=0), atol=1e-6
    )


def test_metrics_have_every_number(result):
    numbers = replace(result, others=[training(result.data, technique="fine-tuning")]).metrics()
    assert {"seed", "backbone", "technique", "data", "classes", "interrupted"} <= set(numbers)
    assert numbers["splits"] == {"train": 60, "validation": 60, "test": 60}
    assert numbers["accuracy"]["test"] == result.accuracy("test")
    assert numbers["seconds"] == {"training": 65.0, "total": 70.0}
    assert [each["technique"] for each in numbers["runs"]] == ["fine-tuning"]
    assert sum(row["support"] for row in numbers["per_class"]) == 60


def test_the_interval_is_wilsons():
    interval = training(random_data("ab", count=10), right=1.0).metrics()["interval"]
    assert interval["low"] == pytest.approx(10 / (10 + 1.959964**2))  # n / (n + z^2) when all are right
    assert interval["high"] == pytest.approx(1.0)
    assert (interval["split"], interval["images"], interval["level"]) == ("test", 10, 0.95)


def test_a_split_that_does_not_exist_is_none_and_validation_is_evaluated(digits, page):
    result = training(replace(digits, test=None))
    numbers = result.metrics()
    assert numbers["splits"]["test"] is None
    assert numbers["accuracy"]["test"] is None
    assert numbers["interval"]["split"] == "validation"
    assert "There is no test split" in page(result)


def test_train_images_are_evaluated_with_a_caution_where_there_is_nothing_else(digits):
    result = training(replace(digits, test=None, validation=None))
    assert result.metrics()["interval"]["split"] == "train"
    [caution] = result.report().cautions
    assert "The accuracy says nothing about new images" in caution


def test_an_unlabelled_test_split_is_not_evaluated(digits, page):
    result = training(digits)
    result.data = replace(digits, test=digits.test.unlabelled())
    numbers = result.metrics()
    assert numbers["splits"]["test"] == 60
    assert numbers["accuracy"]["test"] is None
    assert "60 validation images" in page(result)


def test_the_page_asks_for_nothing_from_outside_and_describes_every_image(text, stands_alone):
    assert len(stands_alone(text)) > 20
    assert len(text) < 3_000_000


def test_the_page_says_the_result_and_how_to_repeat_it(result, text):
    right = round(100 * result.accuracy("test"))
    assert f"{right} % of 60 test images right, 95 % interval" in text
    assert "10 classes; chance is about 10 %." in text
    assert re.search(r"The most certain mistakes: \d+ of \d+ on the test images", text)
    assert html.unescape(re.search(r"<pre><code>(.*?)</code></pre>", text, re.S)[1]) == COMMAND
    assert result.data.card.citation.split(".")[0] in html.unescape(text)


def test_everything_has_its_place(result, titles):
    assert titles(result.report()) == [
        "The data",
        "Training",
        "Measures",
        "Confusion",
        "Each class",
        "Worst mistakes",
        "Right predictions",
        "Image regions that raised the score",
        "Frozen layers",
    ]


def test_problems_are_said_and_names_that_look_like_html_are_text(digits, page):
    names = ["<b>cat</b>", "$x^{$", "dog & 'co'", *map(str, range(7))]
    train = digits.train
    named = Split(train.images, train.labels, [f"<script>{i}</script>.png" for i in range(len(train))])
    data = replace(
        digits,
        test=named,
        class_names=names,
        skipped=["<i>broken</i>.png: truncated"],
        duplicates=[("<u>a</u>", "b")],
    )
    text = page(replace(training(data, right=0.2), interrupted=True))
    assert "Training was interrupted" in text
    assert "1 file could not be used" in text
    assert "&lt;i&gt;broken&lt;/i&gt;.png: truncated" in text
    assert "1 pair of identical images lies in two different splits" in text
    assert "&lt;u&gt;a&lt;/u&gt; = b" in text
    assert not re.search(r"<(b|i|u|script)>", text)
    assert "&lt;b&gt;cat&lt;/b&gt;" in text
    assert "&lt;script&gt;" in text


def test_what_there_is_nothing_to_say_about_is_left_out(text):
    for words in ("skipped", "Duplicates", "interrupted", "There is no test split"):
        assert words not in text


def test_no_mistakes_at_all_is_said(digits, page):
    assert "None: every test image is right" in page(training(digits, right=1.0))


@pytest.mark.parametrize("names", ["ab", [f"a class with a very long name, number {i}" for i in range(100)]])
def test_few_and_many_classes_fit(names, page):
    assert "Each class" in page(training(random_data(names, count=120)))


def test_a_class_without_images_has_no_recall(page):
    result = training(random_data("ab"))
    result.data = replace(result.data, class_names=["a", "b", "c"])
    result.probabilities = {
        name: np.pad(each, ((0, 0), (0, 1))) for name, each in result.probabilities.items()
    }
    result.model = build_classifier("LeNet", 3, weights=None, image_size=16)
    assert result.metrics()["per_class"][2]["recall"] is None
    page(result)


def test_a_backbone_without_feature_maps_has_no_heat_maps(page):
    inputs = keras.Input((16, 16, 3))
    flat = keras.Model(
        inputs, keras.layers.Dense(4, name="dense")(keras.layers.Flatten()(inputs)), name="LeNet"
    )
    head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")], name="head")
    assert "Grad-CAM" not in page(training(random_data("ab"), model=attach_head(flat, head)))


def test_only_the_shown_images_of_a_folder_are_read(page):
    class Lazy:
        shape, dtype, read = (20_000, 16, 16, 3), np.dtype("uint8"), 0

        def __len__(self):
            return 20_000

        def __getitem__(self, index):
            chosen = np.arange(len(self))[index]
            Lazy.read += len(chosen)
            return np.zeros((len(chosen), 16, 16, 3), "uint8")

        def __array__(self, *_, **__):
            pytest.fail("the whole folder was read")

    split = Split(Lazy(), np.arange(20_000) % 2)
    page(training(random_data("ab", train=split, validation=None, test=split)))
    assert 0 < Lazy.read < 100


def test_trainings_are_compared_by_what_distinguishes_them(text):
    assert "Compared with other techniques" in text
    assert text.count('<th scope="row">fine-tuning</th>') == 1
    assert text.count('<th scope="row">scratch</th>') == 1


def test_a_training_is_not_compared_with_itself(digits, titles):
    result = training(digits)
    result.others = [training(digits, technique="fine-tuning"), result]
    assert [each["technique"] for each in result.metrics()["runs"]] == ["fine-tuning"]
    result.others = [result]
    assert "Compared with other techniques" not in titles(result.report())


def test_an_evaluation_reports_the_answers_for_other_images(result, tmp_path, page, stands_alone, titles):
    run = write_report(result, tmp_path / "run")
    other = random_data(["7", "1"], count=12)
    images = np.random.default_rng(1).integers(0, 256, (12, 28, 28, 3)).astype("uint8")
    names = [f"<i>{i}</i>.png" for i in range(12)]
    other = replace(other, train=Split(images, np.arange(12) % 2, names), validation=None, test=None)
    found = evaluate(run, other)
    right = (found.probabilities.argmax(axis=1) == np.tile([7, 1], 6)).mean()
    numbers = found.metrics()
    assert numbers["accuracy"] == found.accuracy == pytest.approx(right)
    assert numbers["interval"]["images"] == 12
    assert numbers["interval"]["low"] <= right <= numbers["interval"]["high"]
    assert [row["support"] for row in numbers["per_class"]] == [0, 6, 0, 0, 0, 0, 0, 6, 0, 0]
    assert found.report().answer == found.answer
    assert "of 12 images right, 95 % interval" in found.answer
    assert titles(found.report())[:4] == ["Measures", "Confusion", "Each class", "Worst mistakes"]
    text = page(found)
    assert len(stands_alone(text)) > 3
    assert "&lt;i&gt;" in text
    assert "<i>" not in text
    out = write_report(found, tmp_path / "evaluation")
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "predictions.csv", "report.html"]
    rows = (out / "predictions.csv").read_text("utf-8").splitlines()
    assert rows[0].startswith("file,split,truth,prediction,probability,p(0),p(1),")
    assert rows[1].startswith("<i>0</i>.png,evaluated,7,")
