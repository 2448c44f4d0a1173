"""Stored results: a lesson reads what a script in `benchmarks/` computed."""

import numpy as np
import pytest

from tlkit.course import results
from tlkit.course.results import stored_results
from tlkit.errors import UnknownNameError

TABLE = """arm,rate,seed,statistics,mix,validation,test,shifted
labels,,,,,,0011b,
frozen,0,,source,0,0.5,,
frozen,0,1,source,0,0.5,0111b,00a1b
"""


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    (tmp_path / "some_arms-digits-mnist.csv").write_text(TABLE)


def test_predictions_and_labels_are_class_indices(stored):
    runs = stored_results("some_arms", "digits/mnist")
    assert runs.attrs["labels"].tolist() == [0, 0, 1, 1, 11]
    assert runs["arm"].tolist() == ["frozen", "frozen"]
    assert [row.tolist() for row in runs["shifted"]] == [[], [0, 0, 10, 1, 11]]
    assert np.mean(runs["test"][1] == runs.attrs["labels"]) == 0.8


def test_rows_are_ordered_by_seed_however_they_were_appended(stored, tmp_path):
    with (tmp_path / "some_arms-digits-mnist.csv").open("a") as file:
        file.write("frozen,0,0,source,0,0.5,0011b,0011b\n")
    assert stored_results("some_arms", "digits/mnist")["seed"].tolist()[1:] == [0, 1]


def test_a_loss_has_two_digits_per_image(stored, tmp_path):
    (tmp_path / "losses-solar.csv").write_text("arm,seed,test,loss\nlabels,,01,\nplain,0,00,0a10\n")
    assert stored_results("losses", "solar")["loss"][0].tolist() == [0.1, 0.36]


def test_an_unknown_result_names_those_that_are_stored(stored):
    with pytest.raises(UnknownNameError, match="Known: some_arms-digits-mnist"):
        stored_results("some_arms", "solar")
