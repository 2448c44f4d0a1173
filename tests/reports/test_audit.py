"""The report of an audit shows every problem with its remedy, and escapes the names of files."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlkit import write_report
from tlkit.data import Dataset, Split, load
from tlkit.experiments.audit import Audit, audit
from tlkit.experiments.audit.audit import class_counts
from tlkit.experiments.audit.check import check
from tlkit.experiments.audit.inventory import from_dataset
from tlkit.experiments.audit.pairs import pairs
from tlkit.experiments.audit.problems import problems
from tlkit.reports.document import Figure, Images, Text


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The audit of 12 images, of which three are there under two labels."""
    root = tmp_path_factory.mktemp("data") / "pets"
    for number in range(12):
        path = root / ("cat" if number < 6 else "$dog$ <b>") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        patches = np.random.default_rng(number % 9).integers(0, 256, (6, 6, 3), "uint8")
        Image.fromarray(patches).resize((64, 64)).save(path)  # 9, 10, 11 are those of 0, 1, 2
    return audit(root, backbone=None)


def test_the_report_shows_pairs_and_lists_what_could_be_removed(audited, titles):
    report = audited.report()
    assert report.answer == audited.answer
    assert report.answer.startswith("Fix this first: identical images with different labels")
    assert titles(report)[0] == "Error: identical images with different labels (3)"
    assert titles(report)[-2:] == ["Classes", "What could be removed"]
    first = report.sections[0]
    [pairs] = [block for block in first.blocks if isinstance(block, Figure)]
    assert pairs.alt == "3 pairs of images: identical images with different labels."
    assert audited.problems[0].remedy in first.blocks[0].text
    assert "The folder lacks a split, so the audit draws it" in report.detail


def test_the_written_page_escapes_names_and_the_numbers_are_complete(audited, tmp_path, stands_alone):
    written = write_report(audited, tmp_path / "out", command="tlkit audit pets")
    page = (written / "report.html").read_text("utf-8")
    assert "$dog$ &lt;b&gt;/9.png" in page
    assert "<b>/9" not in page
    assert stands_alone(page)
    numbers = json.loads((written / "metrics.json").read_text("utf-8"))
    assert len(numbers["removable"]) == 6
    assert numbers["problems"][0]["count"] == 3
    assert {"bits", "colour", "two_classes"} <= set(numbers["pairs"][0])


def test_the_answer_counts_what_is_left_to_check(audited):
    others = [each for each in audited.problems if each.level != "error"]
    assert audited.answer.endswith(f"Then there are {len(others)} things to check.")
    audited = type(audited)(**vars(audited) | {"problems": others[:1]})
    assert audited.answer == "No error, but 1 thing to check."


@pytest.fixture(scope="module")
def checked():
    """The audit of 240 images by made-up features, with 20 wrong labels, a weak group and an outlier."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 60)
    given = truth.copy()
    given[:60:6] = 1  # labels that differ from what the features show
    given[180:240:2] = rng.integers(0, 3, 30)  # half of the last cluster: weak
    features = np.eye(64, dtype="float32")[truth] + rng.normal(0, 0.03, (240, 64)).astype("float32")
    features[100] = np.eye(64)[50]
    features[70] = features[65]
    images = rng.integers(0, 256, (240, 8, 8, 3), "uint8")
    names = [f"<i>{row}.png" for row in range(240)]
    data = Dataset(Split(images, given, names), None, None, list("abcd"), load("digits/optical").card)
    there = from_dataset(data)
    known = pairs(there.images)
    found = check(features, there.images, known, there.class_names, backbone="LeNet", image_size=28)
    classes = class_counts(there.images, there.class_names)
    return Audit(
        "made up",
        problems(there.images, known, classes, [], found),
        there.images,
        classes,
        known,
        [],
        there.pixels,
        check=found,
    )


def section(result, title):
    [found] = [each for each in result.report().sections if title in each.title]
    return found


def test_each_likely_label_error_has_its_image_its_label_and_the_suggestion(checked):
    found = section(checked, "likely label errors")
    assert found.title.startswith("Warning: ")
    [images] = [block for block in found.blocks if isinstance(block, Images)]
    first = checked.suspects.iloc[0]
    lines = [text for text, _ in images.tiles[0].lines]
    assert lines[0] == f"label: {first['label']}"
    assert lines[1].startswith(f"suggested: {first['suggested']}, ")
    assert lines[2] == first["file"]
    assert "Predictions can be wrong, too" in found.blocks[0].text
    count = len(checked.check.label_errors)
    [caption] = [block.text for block in found.blocks if isinstance(block, Text) and block.style == "soft"]
    assert f"These are 18 of {count}" in caption or count <= 18


def test_a_weak_group_has_its_accuracy_its_most_frequent_mistake_and_images(checked):
    found = section(checked, "groups with a low accuracy")
    [figure] = [block for block in found.blocks if isinstance(block, Figure)]
    assert "all images" in figure.alt
    assert "group 1" in figure.alt
    [group] = checked.check.weak_groups
    texts = [block.text for block in found.blocks if isinstance(block, Text)]
    assert f"Group 1: {len(group.members)} images" in texts[1]
    assert "Most frequent mistake: " in texts[1]
    [images] = [block for block in found.blocks if isinstance(block, Images)]
    assert len(images.tiles) == 6
    assert all(tile.lines[1][1] == "wrong" for tile in images.tiles)


def test_an_outlier_has_its_distance_and_near_duplicates_are_shown_as_pairs(checked):
    [images] = [block for block in section(checked, "outliers").blocks if isinstance(block, Images)]
    assert images.tiles[0].lines[2] == ("<i>100.png", "file")
    assert images.tiles[0].lines[1][0].startswith("distance: ")
    found = section(checked, "near duplicates by features")
    assert [block.alt for block in found.blocks if isinstance(block, Figure)] == [
        "1 pair of images: near duplicates by features in one split."
    ]


def test_the_page_of_suspects_escapes_names_and_their_table_is_beside_it(checked, tmp_path, stands_alone):
    written = write_report(checked, tmp_path / "out")
    page = (written / "report.html").read_text("utf-8")
    assert "&lt;i&gt;100.png" in page
    assert "<i>100" not in page
    assert stands_alone(page)
    table = pd.read_csv(written / "suspects.csv", keep_default_na=False)
    assert table["file"].tolist() == checked.suspects["file"].tolist()
    numbers = json.loads((written / "metrics.json").read_text("utf-8"))
    assert numbers["suspects"] == table["kind"].value_counts().to_dict()
    assert numbers["check"]["backbone"] == "LeNet"
    assert numbers["check"]["interval"]["low"] < numbers["check"]["accuracy"]


def test_the_answer_does_not_say_that_a_label_is_wrong(checked):
    assert "labels may be wrong" in checked.answer
    assert " are wrong" not in checked.answer
