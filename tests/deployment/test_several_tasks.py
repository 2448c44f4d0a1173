"""A run with several tasks can be described, evaluated, exported and served, task by task."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from tlkit.deployment.card import render, warnings
from tlkit.deployment.evaluate import evaluate
from tlkit.deployment.export import export
from tlkit.deployment.formats import FORMATS
from tlkit.deployment.networks import output_kinds
from tlkit.deployment.saved_run import open_run
from tlkit.errors import DataError, TlkitError, TlkitWarning


@pytest.fixture(scope="module")
def run(with_tasks):
    return open_run(with_tasks)


def test_the_run_has_tasks_and_is_not_a_classifier(run):
    assert list(run.tasks) == ["form", "left edge", "marks"]
    assert (run.split, run.accuracy, run.image_size) == ("test", None, 28)
    with pytest.raises(
        TlkitError, match="not a run of one classifier: it has the tasks form, left edge, marks"
    ):
        _ = run.class_names


def test_the_card_has_a_section_and_a_result_for_each_task(run):
    text = render(run, licence="apache-2.0")
    assert re.findall("^### (.+)$", text, flags=re.M) == ["form", "left edge", "marks"]
    assert "| form | classification | accuracy | 50.0 % | 24.0 % to 76.0 % | 40.0 % | 10 |" in text
    assert "The mean absolute error on 10 test images is 0.5" in text
    results = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"]
    assert [each["metrics"][0]["type"] for each in results] == ["accuracy", "mae", "accuracy"]


def test_small_splits_and_useless_tasks_are_warned_of(run):
    said = " ".join(warnings(run))
    assert "form: too few test images: with 10 the 95 % interval is ±26 points" in said
    assert "left edge: no better than the same answer for every image" in said
    assert "marks: no better" not in said


def test_each_task_is_evaluated_with_the_labels_of_the_table(run, with_tasks):
    images, table = with_tasks.parent / "images", with_tasks.parent / "labels.csv"
    found = evaluate(run, images, labels=table)
    assert list(found.tasks) == ["form", "left edge", "marks"]
    rows = pd.read_csv(table).set_index("file").loc[found.images.names]
    names = np.array(["circle", "square"])[found.predictions["form"].argmax(axis=1)]
    assert found.measure("form") == (names == rows["form"]).mean()
    errors = np.abs(found.predictions["left edge"][:, 0] - rows["left edge"])
    assert found.measure("left edge") == pytest.approx(errors.mean(), rel=1e-5)


def test_a_table_may_lack_tasks_but_not_all_and_has_only_classes_that_the_model_knows(
    run, with_tasks, tmp_path
):
    images, table = with_tasks.parent / "images", tmp_path / "few.csv"
    table.write_text("file,form\n" + "".join(f"{i}.png,circle\n" for i in range(12)), "utf-8")
    with pytest.warns(TlkitWarning, match="No label of left edge, marks: not evaluated"):
        assert list(evaluate(run, images, labels=table).tasks) == ["form"]
    for column, reason in (
        ("form,triangle", "does not know triangle as 'form'; it knows circle, square"),
        ("left edge,wide", "predicts a number for 'left edge', and a label is not one"),
        ("colour,red", "has labels of colour, and the model has the tasks form, left edge, marks"),
    ):
        name, label = column.split(",")
        table.write_text(f"file,{name}\n" + "".join(f"{i}.png,{label}\n" for i in range(12)), "utf-8")
        with pytest.raises(DataError, match=reason):
            evaluate(run, images, labels=table)
    with pytest.raises(DataError, match="--labels"):
        evaluate(run, images)


def test_every_output_of_an_exported_file_agrees_with_keras(run, tmp_path):
    told = export(run, tmp_path / "out", formats=["openvino"])
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3)).astype("float32")
    expected = run.model.predict(images, verbose=0)
    [file] = told["files"]
    given = FORMATS.find("openvino").run(tmp_path / "out" / file["file"], images)
    assert len({each["name"] for each in file["outputs"].values()}) == 3
    for task, output in file["outputs"].items():
        np.testing.assert_allclose(given[output["name"]], expected[task], atol=1e-2)
    assert (tmp_path / "out" / "labels-form.txt").read_text("utf-8") == "circle\nsquare\n"
    assert (
        json.loads((tmp_path / "out" / "export.json").read_text("utf-8"))["tasks"]["left edge"]["classes"]
        is None
    )


def test_the_page_has_an_answer_for_each_task(run, tmp_path):
    serving = pytest.importorskip("tlkit.deployment.serve")
    pytest.importorskip("gradio")
    Image.new("RGB", (30, 30), (1, 2, 3)).save(tmp_path / "one.png")
    kinds = output_kinds(run.model, run.tasks)[0]
    form, edge, marks = serving.answers(run.model, kinds, str(tmp_path / "one.png"), 28)
    assert set(form) == {"circle", "square"}
    assert sum(form.values()) == pytest.approx(1, abs=1e-5)
    assert set(marks) == {"early", "round", "red"}
    float(edge)
    blocks = serving.build_page(run.model, tasks=kinds, note=serving.note_of_tasks(run))
    labels = [each["props"].get("label") for each in blocks.get_config_file()["components"]]
    assert [each for each in labels if each in run.tasks] == list(run.tasks)
    assert "form: right on 50% of 10 test images" in serving.note_of_tasks(run)
