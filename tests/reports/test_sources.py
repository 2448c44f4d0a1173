"""The section on several sources: what each gives alone, and whether they are better together."""

import numpy as np

from tlkit.reports.sources import TOGETHER, SourceAlone, source_metrics, sources_section, together_or_alone

LABELS = np.arange(60) % 3
WRONG = (LABELS + 1) % 3


def right(number):
    return np.where(np.arange(60) < number, LABELS, WRONG)


SOURCES = [
    SourceAlone("photos", 100, right(20)),
    SourceAlone("sketches", 50, right(30)),
    SourceAlone(TOGETHER, 150, right(55)),
]


def test_the_table_has_a_row_for_each_source_and_the_text_names_the_best():
    section = sources_section(SOURCES, LABELS)
    first, table, said = section.blocks
    assert first.text == "The labelled images come from photos and sketches."
    assert table.frame["accuracy on the target"].round(3).tolist() == [0.333, 0.5, 0.917]
    assert "All sources together are more accurate than sketches alone" in said.text
    assert [each["accuracy"] for each in source_metrics(SOURCES, LABELS)] == [20 / 60, 0.5, 55 / 60]


def test_a_small_difference_is_not_claimed_and_a_loss_is():
    known = {each.name: each.predicted for each in SOURCES}
    assert "cannot tell" in together_or_alone(known | {TOGETHER: right(31)}, LABELS)
    assert "are less accurate than sketches alone" in together_or_alone(known | {TOGETHER: right(5)}, LABELS)


def test_without_labels_the_sources_are_only_named():
    assert len(sources_section(SOURCES, None).blocks) == 2
    assert {each["accuracy"] for each in source_metrics(SOURCES, None)} == {None}
