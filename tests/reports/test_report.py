"""The report: written whole or not at all, complete, and readable without a network."""

import errno
import html
import json
import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from tlkit.reports.page import render

from tlkit import load
from tlkit._internal.outputs import prepare
from tlkit.data import Card, Dataset, Split
from tlkit.errors import OutputError
from tlkit.experiments.train import Run
from tlkit.models import attach_head, build_classifier, frozen_table
from tlkit.reports import report

COMMAND = "tlkit train 'my <pictures>' --seed 0"
PHASE = {"accuracy": [0.3, 0.6], "loss": [2.0, 1.0], "val_accuracy": [0.4, 0.5], "val_loss": [2.0, 1.5]}


def experiment(data, *, right=0.8, technique="scratch", seed=0, model=None):
    """A run that was never trained: it knows the answer for a share of the pictures, and guesses the rest."""
    classes = len(data.class_names)
    model = model or build_classifier("LeNet", classes, weights=None, image_size=data.image_size)
    run = Run(model, data, technique, "LeNet", seed, {"scratch": PHASE}, frozen=frozen_table(model))
    run.seconds = {"training": 65.0, "total": 70.0}
    rng = np.random.default_rng(seed)
    for name, split in data.splits.items():
        probabilities = rng.dirichlet(np.ones(classes), len(split)).astype("float32")
        known = np.flatnonzero(rng.random(len(split)) < right)
        probabilities[known, split.labels[known]] += 1
        run.probabilities[name] = probabilities / probabilities.sum(axis=1, keepdims=True)
    return run


def random_data(names, count=40, **changes):
    rng = np.random.default_rng(0)
    labels = np.arange(count) % len(names)
    split = Split(rng.integers(0, 256, (count, 16, 16, 3)).astype("uint8"), labels)
    card = Card("mine", "My pictures", "", "CC0", "", "", list(names), {}, 16)
    return replace(Dataset(split, split, split, list(names), card), **changes)


def page(run, others=()):
    return render(run, report.metrics(run, COMMAND, others))


@pytest.fixture(scope="module")
def digits():
    data = load("digits/optical")
    few = {name: split.subset(slice(0, 60)) for name, split in data.splits.items()}
    return replace(data, **few)


@pytest.fixture(scope="module")
def run(digits):
    return experiment(digits)


@pytest.fixture(scope="module")
def text(run):
    return page(run, [experiment(run.data, technique="fine-tuning"), run])


def test_three_files_are_written_and_can_be_read(run, tmp_path):
    out = report.write(run, tmp_path / "runs" / "demo", command=COMMAND)
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "model.keras", "report.html"]
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert numbers == report.metrics(run, COMMAND)
    reopened = keras.models.load_model(out / "model.keras")
    images = run.data.test.images[:3]
    np.testing.assert_allclose(
        reopened.predict(images, verbose=0), run.model.predict(images, verbose=0), atol=1e-6
    )


def test_metrics_have_every_number(run):
    numbers = report.metrics(run, COMMAND, [experiment(run.data, technique="fine-tuning")])
    assert {"version", "command", "seed", "backbone", "technique", "data", "classes"} <= set(numbers)
    assert numbers["splits"] == {"train": 60, "validation": 60, "test": 60}
    assert numbers["accuracy"]["test"] == run.accuracy("test")
    assert numbers["seconds"] == {"features": None, "training": 65.0, "total": 70.0}
    assert [each["technique"] for each in numbers["runs"]] == ["fine-tuning"]
    assert sum(row["support"] for row in numbers["per_class"]) == 60


def test_the_interval_is_wilsons():
    run = experiment(random_data("ab", count=10), right=1.0)
    interval = report.metrics(run, COMMAND)["interval"]
    assert interval["low"] == pytest.approx(10 / (10 + 1.959964**2))  # n / (n + z^2) when all are right
    assert interval["high"] == pytest.approx(1.0)


def test_a_split_that_does_not_exist_is_null_and_validation_is_judged(digits):
    run = experiment(replace(digits, test=None))
    numbers = report.metrics(run, COMMAND)
    assert numbers["splits"]["test"] is None
    assert numbers["accuracy"]["test"] is None
    assert numbers["interval"]["split"] == "validation"
    assert "There is no test split" in render(run, numbers)


def test_an_unlabelled_test_split_is_not_judged(digits):
    run = experiment(digits)
    run.data = replace(digits, test=digits.test.unlabelled())
    numbers = report.metrics(run, COMMAND)
    assert numbers["splits"]["test"] == 60
    assert numbers["accuracy"]["test"] is None
    assert "60 validation pictures" in render(run, numbers)


def test_the_page_asks_for_nothing_from_outside(text):
    sources = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", text)
    assert len(sources) > 20
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"<script|<link|@import|url\(", text)
    assert len(text) < 3_000_000


def test_every_picture_is_described_and_headings_are_in_order(text):
    images = re.findall(r"<img [^>]*>", text)
    assert images
    assert all(re.search(r'alt="[^"]{5,}"', image) for image in images)
    assert re.findall(r"<h(\d)", text)[:2] == ["1", "2"]
    assert '<html lang="en">' in text


def test_the_page_says_the_result_and_how_to_get_it_again(run, text):
    right = round(100 * run.accuracy("test"))
    assert f"{right}&nbsp;% of 60 test pictures right" in text
    assert html.unescape(re.search(r"<pre><code>(.*?)</code></pre>", text, re.S)[1]) == COMMAND
    assert run.data.card.citation.split(".")[0] in html.unescape(text)


def test_trouble_is_told_and_names_that_look_like_html_are_text(digits):
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
    text = page(replace(experiment(data, right=0.2), interrupted=True))
    assert "stopped by hand" in text
    assert "&lt;i&gt;broken&lt;/i&gt;.png: truncated" in text
    assert "&lt;u&gt;a&lt;/u&gt; = b" in text
    assert not re.search(r"<(b|i|u|script)>", text)
    assert "&lt;b&gt;cat&lt;/b&gt;" in text
    assert "&lt;script&gt;" in text


def test_what_there_is_nothing_to_say_about_is_left_out(text):
    for words in ("skipped", "Duplicates", "stopped by hand", "There is no test split"):
        assert words not in text


def test_no_mistakes_at_all_is_said(digits):
    assert "None: every test picture is right" in page(experiment(digits, right=1.0))


@pytest.mark.parametrize("names", ["ab", [f"a class with a very long name, number {i}" for i in range(100)]])
def test_few_and_many_classes_fit(names):
    assert "Class by class" in page(experiment(random_data(names, count=120)))


def test_a_class_without_pictures_has_no_recall():
    run = experiment(random_data("ab"))
    run.data = replace(run.data, class_names=["a", "b", "c"])
    run.probabilities = {name: np.pad(each, ((0, 0), (0, 1))) for name, each in run.probabilities.items()}
    run.model = build_classifier("LeNet", 3, weights=None, image_size=16)
    assert report.metrics(run, COMMAND)["per_class"][2]["recall"] is None
    page(run)


def test_a_backbone_without_feature_maps_has_no_heat_maps():
    inputs = keras.Input((16, 16, 3))
    flat = keras.Model(
        inputs, keras.layers.Dense(4, name="dense")(keras.layers.Flatten()(inputs)), name="LeNet"
    )
    head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")], name="head")
    assert "Grad-CAM" not in page(experiment(random_data("ab"), model=attach_head(flat, head)))


def test_only_the_shown_pictures_of_a_folder_are_read():
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
    page(experiment(random_data("ab", train=split, validation=None, test=split)))
    assert 0 < Lazy.read < 100


def test_runs_are_compared_by_what_tells_them_apart(text):
    assert "Compared with the other ways to train" in text
    assert text.count('<th scope="row">fine-tuning</th>') == 1
    assert text.count('<th scope="row">scratch</th>') == 1


def test_an_empty_folder_is_made_ready(tmp_path):
    prepare(tmp_path / "a" / "b")
    prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_with_content_is_refused_unless_overwriting_is_wanted(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not empty.*--overwrite"):
        prepare(tmp_path)
    prepare(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_file_or_a_folder_that_cannot_be_made_is_refused(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        prepare(taken, overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        prepare(taken / "below")


def test_a_full_disk_leaves_the_files_of_the_earlier_run(run, tmp_path, monkeypatch):
    report.write(run, tmp_path / "demo", command=COMMAND)
    before = {path.name: path.read_bytes() for path in (tmp_path / "demo").iterdir()}

    def save(path, *_, **__):
        path.write_bytes(b"half a model")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run.model, "save", save)
    with pytest.raises(OutputError, match="No space left on device"):
        report.write(run, tmp_path / "demo", command="another", overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "demo").iterdir()} == before
