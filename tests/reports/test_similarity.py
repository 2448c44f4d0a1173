"""The report of a comparison of data sets: its answer and its cautions follow from the tables."""

import re

import numpy as np
import pandas as pd
import pytest

from tlkit.experiments.similarity import Sample, Similarity
from tlkit.reports.document import Figure


def table(values, measure="mmd", examples=150, names="abcdefg"):
    values = np.asarray(values, float)
    made = pd.DataFrame(values, index=list(names[: len(values)]), columns=list(names[: len(values)]))
    made.attrs = {"measure": measure, "examples": examples, "same": 0.0, "squared": measure == "mmd"}
    return made


FOUR = [[0.01, 0.4, 0.2, 0.6], [0.4, 0, 0.5, 0.1], [0.2, 0.5, 0, 0.7], [0.6, 0.1, 0.7, 0]]


def result(*tables, measure=None, transfer=None, weights="imagenet", notes=None):
    names = list(tables[0].index)
    samples = {name: Sample(np.zeros((12, 16, 16, 3), "uint8"), None, [], 99) for name in names}
    by_measure = {each.attrs["measure"]: each for each in tables}
    measure = measure or next(iter(by_measure))
    return Similarity(
        samples,
        by_measure,
        transfer or {},
        measure,
        "EfficientNetLite0",
        weights,
        0,
        notes or {},
        {"total": 3.0},
    )


def figures(section):
    return [block for block in section.blocks if isinstance(block, Figure)]


def test_the_answer_names_the_nearest_pair_and_what_is_nearest_to_the_first():
    assert result(table(FOUR)).answer == (
        "b and d are the most similar (mmd 0.1); the most similar to a is c (0.2)."
    )


def test_of_two_the_answer_compares_with_the_halves_of_one():
    far = result(table([[0.01, 0.4], [0.4, 0.02]])).answer
    assert far == "a and b are farther apart than two halves of one of them: mmd 0.4, halves at most 0.02."
    assert "no farther apart than" in result(table([[0.01, 0.015], [0.015, 0.02]])).answer


def test_a_clear_case_has_no_cautions_and_all_its_sections(titles):
    transfer = {"accuracy": pd.DataFrame(np.eye(4), index=list("abcd"), columns=list("abcd"))}
    found = result(table(FOUR), table(np.multiply(FOUR, 2), "a-distance"), transfer=transfer)
    report = found.report()
    assert report.cautions == []
    assert titles(report) == [
        "The distances",
        "Every measure",
        "Do labels transfer?",
        "What was compared",
    ]
    every = report.sections[1].blocks[-1].frame
    assert every["pair"].tolist()[:2] == ["a – b", "a – c"]
    assert every["a-distance"].tolist() == pytest.approx([0.8, 0.4, 1.2, 1.0, 0.2, 1.4, 0.02])
    assert found.metrics()["distances"]["mmd"]["c"]["a"] == 0.2
    assert len(figures(report.sections[0])) == 2


def test_transfer_is_written_by_source_and_then_target():
    transfer = pd.DataFrame([[0.9, 0.4], [0.7, 0.8]], index=list("ab"), columns=list("ab"))
    measured = {"accuracy": transfer, "balanced_accuracy": transfer / 2}
    numbers = result(table([[0, 1.0], [1.0, 0]]), transfer=measured).metrics()
    assert numbers["transfer_measures"]["balanced_accuracy"]["a"] == {"a": 0.45, "b": 0.2}
    assert numbers["transfer"] == {"a": {"a": 0.9, "b": 0.4}, "b": {"a": 0.7, "b": 0.8}}


def test_two_data_sets_have_no_plane():
    assert len(figures(result(table([[0, 1.0], [1.0, 0]])).report().sections[0])) == 1


def test_few_images_are_a_caution():
    [said] = result(table(FOUR, examples=12)).cautions
    assert "12 images on each side are few" in said


def test_distances_within_those_of_halves_are_a_caution():
    near = np.array(FOUR)
    near[1, 3] = near[3, 1] = 0.005
    [said] = result(table(near)).cautions
    assert "1 of 6 distances are no larger than the distance of two halves" in said


@pytest.mark.parametrize(("largest", "cautioned"), [(1.99, True), (1.8, False)])
def test_saturation_is_a_caution(largest, cautioned):
    full = [[0, largest, 1.0], [largest, 0, largest], [1.0, largest, 0]]
    cautions = result(table(full, "a-distance")).cautions
    assert [*map(bool, cautions)] == [True] * cautioned
    if cautioned:
        assert "2 of 3 distances are at the end of the scale, 2" in cautions[0]


def test_a_biased_measure_and_random_weights_are_cautions():
    notes = {"frechet": ["is too large"], "mmd": []}
    tables = table(FOUR, "frechet"), table(FOUR)
    by_frechet = result(*tables, measure="frechet", notes=notes, weights=None).cautions
    by_mmd = result(*tables, measure="mmd", notes=notes, weights=None).cautions
    assert by_frechet[-1] == "frechet: is too large"
    assert len(by_mmd) == 1
    assert "random weights" in by_mmd[0]


def test_the_page_opens_without_a_network_and_its_figures_are_described(page, stands_alone):
    text = page(result(table(FOUR), table(FOUR, "frechet")), "tlkit similarity")
    assert "http" not in text
    images = stands_alone(text)
    assert len(images) == 3
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)
    assert "a: 12 of 99" in text
