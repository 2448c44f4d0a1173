"""`tlkit train-tasks`: what it says about a table, and which tables it refuses."""

import re

import pytest

from tlkit.errors import TlkitError


def test_it_says_what_it_took_and_what_it_left_out(trained_on_table, metrics):
    done, out, warned = trained_on_table
    assert done.exit_code == 0, done
    assert "form: classification, 38 of 38 images labelled, 2 classes" in done.stdout
    assert "left edge: regression, 30 of 38 images labelled, mean" in done.stdout
    assert "wrong? --kind 'left edge'=classification" in done.stdout
    assert "marks: multi-label" in done.stdout
    assert re.search(r"left edge: mean absolute error [\d.]+ \(best constant answer [\d.]+\)", done.stdout)
    assert re.search(r"form: accuracy [\d.]+% \(best constant answer [\d.]+%\)", done.stdout)
    assert any("1 row of labels.csv named no image" in each for each in warned)
    assert any("3 images below" in each for each in warned)
    found = metrics(out)
    assert found["balancing"] == "uncertainty"
    assert {name: task["kind"] for name, task in found["tasks"].items()} == {
        "form": "classification",
        "left edge": "regression",
        "marks": "multi-label",
    }
    assert found["skipped"]["count"] == 4
    assert "Each task" in (out / "report.html").read_text("utf-8")


@pytest.mark.filterwarnings("ignore:1 row of labels.csv named no image")
def test_a_table_that_does_not_fit_is_refused(shapes, table, tmp_path, refused, lenet):
    out = ("--out", tmp_path / "run", *lenet)
    words = ("train-tasks", shapes, "--labels", table, *out)
    assert "expected COLUMN=KIND" in refused(*words, "--kind", "form")
    assert "Did you mean 'pcgrad'" in refused(*words, "--balancing", "pcgrd")
    assert not (tmp_path / "run").exists()
    assert "no table at" in refused("train-tasks", shapes, "--labels", tmp_path / "absent.csv", *out)
    with pytest.warns(UserWarning, match=r"no row in labels\.csv"):
        assert "Did you mean 'form'" in refused(*words, "--kind", "forms=classification", "--overwrite")
    with pytest.warns(UserWarning, match=r"no row in labels\.csv"):
        message = refused(*words, "--kind", "form=regression", "--overwrite")
    assert "'form' as regression" in message


def test_the_table_must_be_named(shapes, tmp_path, command):
    done = command("train-tasks", shapes, "--out", tmp_path / "run")
    assert isinstance(done.exception, TlkitError)
    assert "a table must name its images and their labels: --labels FILE.csv" in str(done.exception)
    assert not (tmp_path / "run").exists()
