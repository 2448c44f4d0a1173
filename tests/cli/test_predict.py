"""`tlkit predict`: classes with their probabilities, every task of a network, and what it refuses."""

import json
import re

import pytest

from tlkit import predict
from tlkit.errors import TlkitWarning


@pytest.mark.filterwarnings("ignore:An unreadable file")
def test_it_classifies_every_image_of_a_folder(trained, shapes, command):
    _, out = trained
    answers = json.loads(command("predict", out, shapes / "circle", "--top", 2, "--json").stdout)
    assert len(answers) == 20
    assert {each["class"] for each in answers[0]["classes"]} == {"circle", "square"}
    assert sum(each["probability"] for each in answers[0]["classes"]) == pytest.approx(1, abs=1e-4)


def test_it_prints_a_line_for_each_image(trained, shapes, command):
    _, out = trained
    files = [shapes / "square" / f"{i}.png" for i in range(2)]
    lines = command("predict", out / "model.keras", *files).stdout.splitlines()
    for file, line in zip(files, lines, strict=True):
        assert re.fullmatch(rf"{re.escape(str(file))}: (circle|square) \d+\.\d%", line)


def test_it_answers_every_task(trained_on_table, shapes, command):
    _, out, _ = trained_on_table
    lines = command("predict", out, shapes / "circle" / "1.png").stdout
    assert re.search(r"1\.png: form: \w+ [\d.]+%; left edge: [-\d.]+; marks: ", lines)
    with pytest.warns(TlkitWarning, match="unreadable"):
        answers = json.loads(command("predict", out, shapes / "circle", "--json", "--top", 2).stdout)
    assert len(answers) == 20
    tasks = answers[0]["tasks"]
    assert {each["class"] for each in tasks["form"]["classes"]} == {"circle", "square"}
    assert isinstance(tasks["left edge"]["value"], float)
    assert all(each["probability"] > 0.5 for each in tasks["marks"]["classes"])


def test_without_class_names_the_classes_are_numbered(trained_on_table, shapes, tmp_path, command):
    _, out, _ = trained_on_table
    (tmp_path / "model.keras").write_bytes((out / "model.keras").read_bytes())
    with pytest.warns(TlkitWarning, match="has no class names that fit form, marks; classes are shown by"):
        done = command("predict", tmp_path, shapes / "square" / "1.png", "--json")
    [answer] = json.loads(done.stdout)
    assert answer["tasks"]["form"]["classes"][0]["class"].startswith("class ")
    assert "value" in answer["tasks"]["left edge"]


def test_what_cannot_be_predicted_is_refused(tmp_path, trained, refused):
    _, out = trained
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "model.keras").write_text("no model")
    assert "no model at" in refused("predict", tmp_path / "absent.keras", tmp_path)
    assert "not an image classifier" in refused("predict", tmp_path / "model.keras", tmp_path)
    assert "no image in" in refused("predict", out, tmp_path / "empty")
    assert "no file at" in refused("predict", out, tmp_path / "absent.png")
    with pytest.warns(TlkitWarning, match="unreadable"):
        assert "None of the 1 images" in refused("predict", out, tmp_path / "text.png")


def test_a_model_and_an_image_must_be_named(trained, command):
    _, out = trained
    for words, missing in (((), "Missing argument 'MODEL'"), ((out,), "Missing argument 'IMAGES...'")):
        done = command("predict", *words)
        assert done.exit_code == 2
        assert missing in done.output


def test_many_images_show_progress(trained, shapes, capsys):
    _, out = trained
    answers = predict(out, [shapes / "square"], progress=True)
    assert f"{len(answers)}/{len(answers)}" in capsys.readouterr().err
