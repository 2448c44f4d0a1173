"""The report of a comparison says which differences are certain, and where the seeds cannot tell."""

import json

import pandas as pd
import pytest

from tlkit import compare, write_report
from tlkit.errors import TlkitWarning


def comparison(gains, *, seeds=range(4), settings=None):
    """Compare arms whose accuracy is that of the control and a gain for each seed."""

    def arm(gain):
        return lambda seed, **given: {"accuracy": 0.5 + 0.01 * seed + gain[seed]}

    return compare({name: arm(gain) for name, gain in gains.items()}, seeds=seeds, settings=settings)


NONE, CLEAR, UNSURE = [0.0] * 4, [0.1, 0.11, 0.1, 0.09], [0.05, -0.05, 0.02, -0.01]


def verdicts(report):
    return report.sections[1].blocks[0].frame["verdict"].tolist()


def test_one_difference_is_given_with_its_interval():
    report = comparison({"a": NONE, "b": CLEAR}).report()
    assert report.title == "accuracy of a and b"
    assert report.answer == "accuracy of b minus a: +0.1, 95 % interval 0.087 to 0.113"
    assert report.detail == "4 seeds."
    assert verdicts(report) == ["differs"]
    assert report.cautions == []


def test_where_the_interval_contains_zero_the_seeds_cannot_tell():
    report = comparison({"a": NONE, "b": UNSURE}).report()
    assert report.answer.endswith(": these seeds cannot tell")
    assert verdicts(report) == ["cannot tell"]


@pytest.mark.parametrize(
    ("gains", "answer"),
    [
        ((CLEAR, CLEAR), "All 2 differences from a exclude zero"),
        ((CLEAR, UNSURE), "1 of 2 differences from a excludes zero; for the rest these seeds cannot tell"),
        ((UNSURE, UNSURE), "None of 2 differences from a excludes zero: these seeds cannot tell"),
    ],
)
def test_several_differences_are_counted(gains, answer):
    report = comparison({"a": NONE, "b": gains[0], "c": gains[1]}).report()
    assert report.answer == answer
    assert verdicts(report) == ["differs" if gain is CLEAR else "cannot tell" for gain in gains]


def test_settings_are_compared_one_value_at_a_time():
    found = comparison({"a": NONE, "b": CLEAR}, settings={"labels": [1, 10]})
    table = found.report().sections[1].blocks[0].frame
    assert table[["labels", "arm"]].values.tolist() == [[1, "b"], [10, "b"]]
    assert [row["labels"] for row in found.metrics()["differences"].to_dict("records")] == [1, 10]


def test_one_seed_is_a_caution_and_decides_nothing():
    with pytest.warns(TlkitWarning, match="With one seed"):
        report = comparison({"a": NONE, "b": CLEAR}, seeds=[0]).report()
    assert "the spread is unknown" in report.cautions[0]
    assert report.answer == "accuracy of b minus a: +0.1: these seeds cannot tell"
    assert verdicts(report) == ["cannot tell"]


def test_one_arm_has_a_mean_and_no_difference(titles):
    found = comparison({"a": NONE})
    assert found.report().answer == "a: mean accuracy 0.515"
    assert titles(found.report()) == ["accuracy of each arm"]
    assert found.metrics()["differences"] is None


def test_the_table_is_written_with_the_page(tmp_path, stands_alone):
    found = comparison({"<b>a</b>": NONE, "b": UNSURE})
    out = write_report(found, tmp_path / "out")
    assert pd.read_csv(out / "results.csv")["accuracy"].tolist() == found.table["accuracy"].tolist()
    text = (out / "report.html").read_text("utf-8")
    [image] = stands_alone(text)
    assert 'alt="Mean accuracy of each arm: &lt;b&gt;a&lt;/b&gt; 0.515; b 0.518."' in image
    assert "<b>" not in text
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert (numbers["value"], numbers["control"]) == ("accuracy", "<b>a</b>")
    assert numbers["differences"][0]["pairs"] == 4
