"""Properties that all scores share, and the table of scores."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy.special import softmax

from tlkit.challenges import model_selection
from tlkit.challenges.model_selection import SCORES, nce, scores, scores_named
from tlkit.errors import DataError, TlkitWarning, UnknownNameError

NAMES = [score.name for score in SCORES]
RANDOM = ("nleep", "linear-probe", "knn")  # their random samples depend on the order of the examples
OF_FEATURES = [score.name for score in SCORES if score.needs == "features"]


def source(features):
    """Return the probabilities of an artificial source head of six classes: the softmax of a linear map."""
    return softmax(features @ np.random.default_rng(7).normal(size=(features.shape[1], 6)), axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_separable_features_score_above_noisy_ones_and_random_labels_lowest(name, labelled):
    found = []
    for distance, shuffled in ((4.0, False), (1.5, False), (1.5, True)):
        features, labels = labelled(distance, n=400, seed=1)
        if shuffled:
            labels = np.random.default_rng(0).permutation(labels)
        table = scores(features, labels, source_probabilities=source(features), names=[name])
        found.append(table.loc[name, "value"])
    assert found[0] > found[1] > found[2]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RANDOM])
def test_order_of_the_examples_and_numbering_of_the_classes_have_no_effect(name, labelled):
    features, labels = labelled(1.5, n=120)
    theta, order = source(features), np.random.default_rng(0).permutation(120)
    one = scores(features, labels, source_probabilities=theta, names=[name])
    renumbered = np.array([40, 10, 30, 20])[labels][order]
    other = scores(features[order], renumbered, source_probabilities=theta[order], names=[name])
    assert one.loc[name, "value"] == pytest.approx(other.loc[name, "value"])


@pytest.mark.parametrize("name", OF_FEATURES)
@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (lambda x, y: (x, 0 * y), "All 60 labels are 0"),
        (lambda x, y: (np.where(np.arange(60)[:, None] == 7, np.nan, x), y), r"1 of 60 rows \(index 7\)"),
        (lambda x, y: (x, y[1:]), "Labels of shape"),
        (lambda x, y: (x, y / 2), "expected integers"),
        (lambda x, y: (0 * x, y), "same features"),
    ],
)
def test_every_score_of_features_refuses_invalid_input(name, corrupt, message, labelled):
    with pytest.raises(DataError, match=message):
        SCORES.find(name).build(*corrupt(*labelled(n=60)))


@pytest.mark.parametrize("name", OF_FEATURES)
def test_more_features_than_examples_and_constant_features_give_a_finite_value(name, labelled):
    features, labels = labelled(n=40, d=90)
    features[:, ::3] = 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", TlkitWarning)
        assert np.isfinite(SCORES.find(name).build(features.astype("float32"), labels))


@pytest.mark.parametrize("name", NAMES)
def test_each_row_names_a_function_whose_docstring_has_paper_and_limitations(name):
    score = SCORES.find(name.upper())
    text = score.target.__doc__
    assert score.target is getattr(model_selection, score.home.split(".")[1])
    assert score.summary
    assert score.paper.split()[-1] in text
    assert "Limitations:" in text


def test_by_default_all_scores_are_computed_and_timed(labelled):
    features, labels = labelled(n=80)
    theta = source(features)
    table = scores(features, labels, source_probabilities=theta)
    assert table.index.tolist() == NAMES
    assert table["value"].notna().all()
    assert (table["seconds"] > 0).all()
    assert table.loc["nce", "value"] == pytest.approx(nce(theta.argmax(axis=1), labels))
    assert table.loc["gbc", "value"] == pytest.approx(model_selection.gbc(features, labels))


def test_without_a_source_head_its_scores_are_missing_without_an_error(labelled):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = scores(*labelled(n=80), names=["leep", "LogME", "nce"])
    assert table.index.tolist() == ["leep", "logme", "nce"]
    assert table["value"].isna().tolist() == [True, False, True]
    assert table["seconds"].isna().tolist() == [True, False, True]


def test_a_score_that_cannot_be_computed_is_left_out_with_a_warning(labelled):
    features, labels = labelled(n=80)
    labels[0] = 99
    with pytest.warns(TlkitWarning) as caught:
        table = scores(features, labels)
    left_out = {str(each.message).split()[0] for each in caught if "is left out" in str(each.message)}
    assert (
        left_out
        == {"gbc", "linear-probe", "knn"}
        == set(table.index[table["value"].isna()]) - {"leep", "nce"}
    )


def test_input_that_no_score_can_use_is_an_error(labelled):
    features, labels = labelled(n=80)
    with pytest.raises(DataError, match="same features"):
        scores(np.ones((80, 2)), labels)
    with pytest.raises(DataError, match="do not sum to 1"):
        scores(features, labels, source_probabilities=features)
    with pytest.raises(UnknownNameError, match="'logme'"):
        scores(features, labels, names=["logm"])


def test_listing_the_scores_does_not_load_keras():
    code = (
        "import sys; from tlkit.challenges.model_selection import SCORES; "
        "print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_all_stands_for_every_score_and_the_default_for_those_that_take_seconds():
    assert scores_named("all") == scores_named(["logme", "ALL"]) == NAMES
    assert scores_named() == ["logme", "linear-probe", "knn"]
    with pytest.raises(UnknownNameError, match="Did you mean 'knn'"):
        scores_named(["knnn"])
