"""The page of a comparison of data sets: its answer and its warnings follow from the tables."""

import re

import numpy as np
import pandas as pd
import pytest
from tlkit.reports.findings_page import write
from tlkit.reports.findings_similarity import answer, findings

from tlkit.experiments.similarity import Sample, Similarity


def table(values, measure="mmd", examples=150, names="abcdefg"):
    values = np.asarray(values, float)
    made = pd.DataFrame(values, index=list(names[: len(values)]), columns=list(names[: len(values)]))
    made.attrs = {"measure": measure, "examples": examples, "same": 0.0, "squared": measure == "mmd"}
    return made


FOUR = [[0.01, 0.4, 0.2, 0.6], [0.4, 0, 0.5, 0.1], [0.2, 0.5, 0, 0.7], [0.6, 0.1, 0.7, 0]]


def result(*tables, carried=None, weights="imagenet", notes=None):
    names = list(tables[0].index)
    samples = {name: Sample(np.zeros((12, 16, 16, 3), "uint8"), None, [], 99) for name in names}
    by_measure = {each.attrs["measure"]: each for each in tables}
    return Similarity(samples, by_measure, carried, "EfficientNetLite0", weights, 0, notes or {}, 3.0)


def test_the_answer_names_the_nearest_pair_and_what_is_nearest_to_the_first():
    assert answer(table(FOUR)) == "b and d lie nearest to each other (mmd 0.1); nearest to a is c (0.2)."


def test_of_two_the_answer_compares_with_the_halves_of_one():
    far = answer(table([[0.01, 0.4], [0.4, 0.02]]))
    assert far == "a and b are farther apart than two halves of one of them: mmd 0.4, halves at most 0.02."
    assert "no farther apart than" in answer(table([[0.01, 0.015], [0.015, 0.02]]))


def test_a_clear_case_has_no_cautions_and_all_its_parts():
    carried = pd.DataFrame(np.eye(4), index=list("abcd"), columns=list("abcd"))
    found = findings(result(table(FOUR), table(np.multiply(FOUR, 2), "a-distance"), carried=carried))
    assert found.cautions == []
    assert [part.title for part in found.parts] == [
        "The distances",
        "Every measure",
        "Do labels carry over?",
        "What was compared",
    ]
    every = found.parts[1].table
    assert every["pair"].tolist()[:2] == ["a – b", "a – c"]
    assert every["a-distance"].tolist() == pytest.approx([0.8, 0.4, 1.2, 1.0, 0.2, 1.4, 0.02])
    assert found.numbers["distances"]["mmd"]["c"]["a"] == 0.2
    assert len(found.parts[0].figures) == 2


def test_two_data_sets_have_no_plane():
    assert len(findings(result(table([[0, 1.0], [1.0, 0]]))).parts[0].figures) == 1


def test_few_images_are_a_caution():
    [said] = findings(result(table(FOUR, examples=12))).cautions
    assert "12 images on each side are few" in said


def test_distances_within_what_halves_get_are_a_caution():
    near = np.array(FOUR)
    near[1, 3] = near[3, 1] = 0.005
    [said] = findings(result(table(near))).cautions
    assert "1 of 6 distances are no larger than what two halves" in said


@pytest.mark.parametrize(("largest", "cautioned"), [(1.99, True), (1.8, False)])
def test_saturation_is_a_caution(largest, cautioned):
    full = [[0, largest, 1.0], [largest, 0, largest], [1.0, largest, 0]]
    found = findings(result(table(full, "a-distance")), "a-distance")
    assert [*map(bool, found.cautions)] == [True] * cautioned
    if cautioned:
        assert "2 of 3 distances are at the end of the scale, 2" in found.cautions[0]


def test_a_biased_measure_and_random_weights_are_cautions():
    notes = {"frechet": ["is too large"], "mmd": []}
    one = result(table(FOUR, "frechet"), table(FOUR), notes=notes, weights=None)
    by_frechet, by_mmd = findings(one, "frechet").cautions, findings(one).cautions
    assert by_frechet[-1] == "Of frechet: is too large"
    assert len(by_mmd) == 1
    assert "random weights" in by_mmd[0]


def test_the_page_opens_without_a_network_and_its_figures_are_described(tmp_path):
    found = findings(result(table(FOUR), table(FOUR, "frechet")))
    html = (write(found, tmp_path / "out", command="tlkit similarity") / "report.html").read_text()
    assert "http" not in html
    images = re.findall(r"<img [^>]*>", html)
    assert len(images) == 3
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)
    assert "a: 12 of 99" in html
