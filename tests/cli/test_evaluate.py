"""`tlkit evaluate RUN DATA`: the accuracy on other labelled images, its files, and what it refuses."""

import re
import shutil

import pandas as pd
import pytest

from tlkit.errors import TlkitWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*could not be read")


@pytest.fixture
def squares_and_circles(shapes, tmp_path):
    """Some of the shapes in another folder: 5 squares and 3 circles."""
    for name, count in (("square", 5), ("circle", 3)):
        for i in range(count):
            path = tmp_path / "more shapes" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(shapes / name / f"{i}.png", path)
    return tmp_path / "more shapes"


def test_it_prints_the_accuracy_and_the_recall_of_each_class(trained, squares_and_circles, command):
    _, out = trained
    done = command("evaluate", out, squares_and_circles)
    assert done.exit_code == 0, done
    right = int(re.search(r"([\d.]+) % of 8 images right, 95 % interval ", done.stdout)[1].split(".")[0])
    assert 0 <= right <= 100
    recalls = dict(re.findall(r"(\w+): recall ([\d.]+)% of \d images", done.stdout))
    assert list(recalls) == ["circle", "square"]
    assert "circle: recall" in done.stdout
    assert "% of 3 images" in done.stdout
    assert "Report:" not in done.stdout
    total = (3 * float(recalls["circle"]) + 5 * float(recalls["square"])) / 8
    assert total == pytest.approx(right, abs=1)


def test_it_writes_the_metrics_the_predictions_and_the_report(
    trained, squares_and_circles, tmp_path, command, metrics
):
    _, run = trained
    out = tmp_path / "evaluated"
    done = command("evaluate", run, squares_and_circles, "--out", out)
    assert done.exit_code == 0, done
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "predictions.csv", "report.html"]
    found, table = metrics(out), pd.read_csv(out / "predictions.csv")
    assert list(table) == [
        *("file", "split", "truth", "prediction", "probability"),
        *("p(circle)", "p(square)"),
    ]
    assert sorted(table["file"]) == sorted(
        path.relative_to(squares_and_circles).as_posix() for path in squares_and_circles.rglob("*.png")
    )
    assert (table["truth"] == table["file"].str.split("/").str[0]).all()
    assert ("p(" + table["prediction"] + ")" == table[["p(circle)", "p(square)"]].idxmax(axis=1)).all()
    assert found["accuracy"] == (table["truth"] == table["prediction"]).mean()
    assert (found["images"], found["interval"]["images"]) == (8, 8)
    assert {row["name"]: row["support"] for row in found["per_class"]} == {"circle": 3, "square": 5}
    page = (out / "report.html").read_text("utf-8")
    assert found["answer"] in page
    assert "Confusion" in page


def test_all_images_of_a_folder_are_used_and_unreadable_ones_left_out(trained, shapes, command):
    _, run = trained
    with pytest.warns(TlkitWarning, match=r"broken\.png"):
        done = command("evaluate", run, shapes)
    assert "of 40 images right" in done.stdout


def test_classes_that_the_model_does_not_know_are_refused(trained, squares_and_circles, tmp_path, refused):
    _, run = trained
    (squares_and_circles / "circle").rename(squares_and_circles / "triangle")
    message = refused("evaluate", run, squares_and_circles, "--out", tmp_path / "evaluated")
    assert "The model does not know triangle; it knows circle, square" in message
    assert not (tmp_path / "evaluated").exists()
    assert "does not know 0, 1, 2, 3" in refused("evaluate", run, "digits/optical")


def test_a_folder_that_is_no_run_is_refused(squares_and_circles, tmp_path, refused):
    assert "not the folder of a run" in refused("evaluate", tmp_path, squares_and_circles)
    assert "not the folder of a run" in refused("evaluate", tmp_path / "absent", squares_and_circles)


def test_a_model_with_several_tasks_needs_a_table_and_reports_each_task(
    trained_on_table, table, shapes, squares_and_circles, tmp_path, command, refused, metrics
):
    _, run, _ = trained_on_table
    assert "--labels FILE.csv" in refused("evaluate", run, squares_and_circles)
    out = tmp_path / "evaluated"
    with pytest.warns(TlkitWarning):
        done = command("evaluate", run, shapes, "--labels", table, "--out", out)
    assert done.exit_code == 0, done
    assert re.search(r"form: \d+ % right, 95 % interval .*left edge: error .*marks: \d+ % right", done.stdout)
    found = metrics(out)["tasks"]
    assert found["form"]["interval"]["low"] < found["form"]["accuracy"] < found["form"]["interval"]["high"]
    assert found["left edge"]["error"] > 0
    rows = pd.read_csv(out / "predictions.csv", dtype=str)
    assert (rows["form: truth"] == rows["form: prediction"]).mean() == found["form"]["accuracy"]
    assert "Each task" in (out / "report.html").read_text("utf-8")


def test_the_labels_of_a_classifier_may_lie_in_a_table(trained, shapes, tmp_path, command, refused):
    _, run = trained
    table = tmp_path / "labels.csv"
    table.write_text(
        "file,form,size\ncircle/1.png,circle,3\nsquare/1.png,square,4\nsquare/2.png,,4\n", "utf-8"
    )
    with pytest.warns(TlkitWarning):
        done = command("evaluate", run, shapes, "--labels", table)
    assert "of 2 images right" in done.stdout
    table.write_text("file,form\ncircle/1.png,triangle\nsquare/1.png,square\n", "utf-8")
    with pytest.warns(TlkitWarning):
        assert "must hold classes that the model knows" in refused("evaluate", run, shapes, "--labels", table)


def test_data_without_labels_and_an_occupied_folder_are_refused(
    trained, squares_and_circles, refused, tmp_path
):
    _, run = trained
    assert "no folder at" in refused("evaluate", run, squares_and_circles / "absent")
    assert "lie directly in" in refused("evaluate", run, squares_and_circles / "circle")
    assert "whose model would be lost" in refused("evaluate", run, squares_and_circles, "--out", run)
    (tmp_path / "notes.txt").write_text("mine")
    assert "--overwrite" in refused("evaluate", run, squares_and_circles, "--out", tmp_path)


def test_a_run_and_its_data_must_be_named(trained, command):
    _, run = trained
    for words, missing in (((), "Missing argument 'RUN'"), ((run,), "Missing argument 'DATA'")):
        done = command("evaluate", *words)
        assert done.exit_code == 2
        assert missing in done.output
