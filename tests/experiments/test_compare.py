"""A comparison of arms: what it reports about, its differences from the control, and when it cannot tell."""

import json

import pandas as pd
import pytest

import tlkit
from tlkit.errors import OutputError, TlkitWarning, UnknownNameError
from tlkit.experiments.compare import Comparison
from tlkit.reports.statistics import paired, summary

SPREAD = [0.0, 0.02, -0.01]  # of the seeds, the same for every arm


def arm(gain):
    """An arm that gains more with more labels, and no two seeds gain the same."""

    def run(seed, labels=1):
        accuracy = 0.5 + SPREAD[seed] + gain * labels + 0.001 * seed * (gain > 0)
        return {"accuracy": accuracy, "best": "yes"}

    return run


ARMS = {"scratch": arm(0.0), "transfer": arm(0.1), "same": arm(0.0)}


@pytest.fixture(scope="module")
def found():
    return tlkit.compare(ARMS, settings={"labels": [1, 2]})


def sections(result):
    return [section.title for section in result.report().sections]


def test_every_arm_runs_with_every_setting_and_three_seeds(found):
    assert list(found.table) == ["arm", "labels", "seed", "accuracy", "best", "seconds"]
    assert len(found.table) == 3 * 2 * 3
    assert found.settings == ["labels"]
    assert set(found.seconds) == {"total"}


def test_it_is_about_the_first_number_and_the_first_arm_unless_others_are_chosen(found):
    assert (found.control, found.value) == ("scratch", "accuracy")
    other = Comparison(found.table, ["labels"], control="transfer", value="seconds")
    assert (other.control, other.value) == ("transfer", "seconds")
    assert list(other.summary().index) == ["scratch", "transfer", "same"]
    assert other.paired(by="labels").index.tolist() == [
        (1, "scratch"),
        (1, "same"),
        (2, "scratch"),
        (2, "same"),
    ]


def test_a_result_in_words_is_not_what_it_is_about():
    found = tlkit.compare({"arm": lambda seed: {"note": "good", "loss": 0.1 * seed}})
    assert found.value == "loss"
    found.report()
    only_words = tlkit.compare({"arm": lambda seed: {"note": "good"}})
    assert only_words.value == "seconds"


def test_means_and_differences_are_those_of_the_statistics(found):
    pd.testing.assert_frame_equal(found.summary(), summary(found.table))
    by = ("labels", "arm")
    pd.testing.assert_frame_equal(found.summary(by), summary(found.table, by=by))
    wide = found.paired(by="labels", confidence=0.9)
    pd.testing.assert_frame_equal(wide, paired(found.table, "scratch", by="labels", confidence=0.9))


def test_metrics_hold_every_row_the_means_and_the_differences_of_each_setting(found):
    numbers = found.metrics()
    assert numbers["results"] is found.table
    assert (numbers["value"], numbers["control"]) == ("accuracy", "scratch")
    means = numbers["summary"].set_index(["labels", "arm"])["mean"]
    assert means[1, "scratch"] == pytest.approx(0.5 + 0.01 / 3)
    differences = numbers["differences"].set_index(["labels", "arm"])
    assert differences.loc[(1, "transfer"), "difference"] == pytest.approx(0.101)
    assert differences.loc[(2, "transfer"), "low"] > 0.15
    assert differences.loc[(2, "same"), ["difference", "low", "high"]].tolist() == pytest.approx([0, 0, 0])


def test_a_difference_counts_only_where_its_interval_excludes_zero(found):
    document = found.report()
    assert document.answer.startswith("2 of 4 differences from scratch exclude zero")
    assert document.title == "accuracy of scratch, transfer and same"
    assert document.detail == "3 seeds."
    assert document.cautions == []
    assert sections(found) == ["accuracy of each arm", "Difference from scratch"]
    verdicts = document.sections[1].blocks[0].frame.set_index(["labels", "arm"])["verdict"]
    assert verdicts[1, "transfer"] == verdicts[2, "transfer"] == "differs"
    assert verdicts[1, "same"] == verdicts[2, "same"] == "cannot tell"


def test_an_arm_alone_has_a_mean_and_no_difference():
    alone = tlkit.compare({"transfer": arm(0.1)})
    assert alone.metrics()["differences"] is None
    assert alone.report().answer == "transfer: mean accuracy 0.604"
    assert sections(alone) == ["accuracy of each arm"]


def test_one_seed_is_a_caution_and_decides_nothing():
    found = tlkit.compare(ARMS, seeds=[0])
    with pytest.warns(TlkitWarning, match="spread is unknown"):
        document = found.report()
    assert document.answer.startswith("None of 2 differences from scratch excludes zero")
    assert document.cautions == ["One seed: the spread is unknown. Run at least three seeds."]


def test_a_setting_that_is_none_is_compared_like_any_other():
    arms = {name: lambda seed, weights, run=run: run(seed) for name, run in ARMS.items()}
    found = tlkit.compare(arms, settings={"weights": [None, "imagenet"]})
    numbers = found.metrics()
    assert len(numbers["summary"]) == 6
    assert len(numbers["differences"]) == 4
    assert found.report().answer.startswith("2 of 4 differences")


def test_an_unknown_control_is_named(found):
    other = Comparison(found.table, ["labels"], control="scrach")
    with pytest.raises(UnknownNameError, match="Did you mean 'scratch'"):
        other.paired(by="labels")


def test_it_is_written_with_its_table_and_not_over_another(found, tmp_path):
    out = tlkit.write_report(found, tmp_path / "run", command="python mine.py")
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "report.html", "results.csv"]
    pd.testing.assert_frame_equal(pd.read_csv(out / "results.csv"), found.table)
    numbers = json.loads((out / "metrics.json").read_text())
    assert len(numbers["results"]) == 18
    assert len(numbers["differences"]) == 4
    assert numbers["answer"] == found.report().answer
    assert "cannot tell" in (out / "report.html").read_text()
    with pytest.raises(OutputError, match="--overwrite"):
        tlkit.write_report(found, out)


def test_finished_rows_are_kept_and_not_run_again(found, tmp_path):
    keep = tmp_path / "table.csv"
    first = tlkit.compare({"arm": arm(0.1)}, keep=keep)
    again = tlkit.compare({"arm": lambda seed: pytest.fail("it ran again")}, keep=keep)
    pd.testing.assert_frame_equal(first.table, again.table)
