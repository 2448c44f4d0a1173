"""The section on a vote, its cautions, and the sentence on the best single method."""

import numpy as np

from tlkit.reports.votes import Candidate, frequency_cautions, regret, vote_section

NAMES = ["cat", "dog", "hen"]
SOURCE_ONLY = Candidate("source only", 0.2, 1.0, np.array([0, 1]))
MCC = Candidate("mcc", 0.9, 75.0, np.array([0, 0]))


def test_the_table_has_a_row_for_each_method_and_no_accuracy_without_labels():
    section = vote_section("vote", [SOURCE_ONLY, MCC], {}, "")
    text, table, _ = section.blocks
    assert text.style == ""
    assert list(table.frame.columns) == ["method", "agreement with the vote (kappa)", "time"]
    assert table.frame["time"].tolist() == ["1.0 s", "1.2 min"]
    reached = {"source only": 0.5, "mcc": 0.8, "adapted": 0.7}
    labelled = vote_section("vote", [SOURCE_ONLY, MCC], reached, "accuracy", 0.7)
    assert labelled.blocks[1].frame["accuracy on the target"].tolist() == [0.5, 0.8]
    assert "mcc: its accuracy is 10.0 points higher" in labelled.blocks[3].text


def test_the_metrics_of_a_method_hold_its_accuracy_only_with_labels():
    assert MCC.metrics(np.array([0, 1]))["accuracy"] == 0.5
    assert MCC.metrics(None) == {"name": "mcc", "agreement": 0.9, "seconds": 75.0, "accuracy": None}


def test_an_adaptation_that_was_not_made_is_a_caution():
    section = vote_section("source only", [SOURCE_ONLY], {}, "")
    assert section.blocks[0].style == "caution"
    assert "nothing to adapt to" in section.blocks[0].text


def test_a_network_that_was_chosen_is_named():
    section = vote_section("mcc", [SOURCE_ONLY, MCC], {}, "")
    assert section.blocks[0].style == ""
    assert "The network trained by mcc agrees most with the vote" in section.blocks[0].text


def test_without_a_vote_there_is_no_table():
    (only,) = vote_section("interrupted", [], {}, "").blocks
    assert only.style == "caution"
    assert "Ctrl-C" in only.text


def test_the_best_method_may_be_better_or_worse_than_the_vote():
    names = ["jan", "mcc"]
    assert "mcc: its accuracy is 2.0 points higher than" in regret([0.5, 0.8], 0.78, names, "accuracy")
    assert "jan: its accuracy is 10.0 points lower" in regret([0.7, 0.6], 0.8, names, "accuracy")
    assert "jan: its accuracy is equal to" in regret([0.8, 0.6], 0.8, names, "accuracy")


def test_frequencies_that_hardly_differ_need_no_caution():
    assert frequency_cautions(np.array([0.3, 0.3, 0.4]), np.array([0.25, 0.3, 0.45]), NAMES) == []


def test_other_frequencies_are_named_with_the_largest_difference_first():
    (found,) = frequency_cautions(np.array([0.6, 0.2, 0.2]), np.array([0.2, 0.6, 0.2]), NAMES)
    assert found.style == "caution"
    assert "cat 20 % (source 60 %), dog 60 % (source 20 %) and hen" in found.text


def test_classes_that_the_target_seems_to_lack_are_named():
    (found,) = frequency_cautions(np.array([0.4, 0.4, 0.2]), np.array([0.5, 0.49, 0.01]), NAMES)
    assert "hardly any images of: hen." in found.text
