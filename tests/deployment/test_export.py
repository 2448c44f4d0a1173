"""An exported file predicts what Keras predicts, or it is not kept."""

import json
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tlkit._internal.registry import Registry
from tlkit.cli import cli
from tlkit.deployment import export as exporting
from tlkit.deployment.export import export, read_images
from tlkit.deployment.formats import FORMATS, Format
from tlkit.deployment.saved_run import open_run
from tlkit.errors import DataError, OutputError, TlkitError, UnknownNameError
from tlkit.models import augmentation, build_classifier, without_augmentation


def command(*words):
    return CliRunner().invoke(cli, list(map(str, words)))


@pytest.fixture(scope="module")
def exported(with_model):
    """Both formats by the command, in the folder of the run."""
    done = command("export", with_model)
    assert done.exit_code == 0, done.output
    return done.output, with_model / "exported"


def test_both_formats_answer_as_keras_does_on_images_that_were_not_compared(exported, with_model):
    _, folder = exported
    images = np.random.default_rng(1).integers(0, 256, (5, 28, 28, 3)).astype("float32")
    expected = open_run(with_model).model.predict(images, verbose=0)
    for each in FORMATS:
        assert np.abs(each.run(folder / each.file, images) - expected).max() < 1e-3


def test_the_class_names_and_the_comparison_lie_beside_it(exported):
    output, folder = exported
    assert sorted(file.name for file in folder.iterdir()) == [
        *("export.json", "labels.txt", "model.bin", "model.tflite", "model.xml"),
    ]
    assert (folder / "labels.txt").read_text("utf-8").splitlines() == list("0123456789")
    told = json.loads((folder / "export.json").read_text("utf-8"))
    assert told["input"]["range"] == [0, 255]
    for each in told["files"]:
        assert each["difference"] < 1e-3
        assert (each["images"], each["same_answers"]) == (64, True)
    assert told["files"][0]["bytes"] == (folder / "model.tflite").stat().st_size
    assert "model.tflite" in output
    assert "on 64 images the probabilities differ from Keras by" in output


def test_the_model_card_tells_of_them(exported, with_model):
    assert command("card", with_model, "--overwrite").exit_code == 0
    assert "| model.tflite | litert | 64 |" in (with_model / "MODEL_CARD.md").read_text("utf-8")


def test_a_fine_tuned_run_is_exported_without_its_augmentation(with_augmentation):
    told = export(open_run(with_augmentation))
    assert [each["format"] for each in told["files"]] == ["litert", "openvino"]
    assert told["failed"] == []


def answers(model):
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3)).astype("float32")
    return model.predict(images, verbose=0)


def test_without_augmentation_the_weights_are_shared_and_the_answers_equal():
    random = augmentation(flip=False)
    model = build_classifier("LeNet", classes=10, weights=None, augmentation=random)
    sequential = keras.Sequential([keras.Input((28, 28, 3)), random, *model.layers[2:]])
    for whole in (model, sequential):
        bare = without_augmentation(whole)
        assert random not in bare.layers
        assert [id(weight) for weight in bare.weights] == [id(weight) for weight in whole.weights]
        np.testing.assert_array_equal(answers(bare), answers(whole))


def test_without_augmentation_dict_outputs_keep_their_names():
    inputs = keras.Input((28, 28, 3))
    features = keras.layers.Flatten()(augmentation()(inputs))
    heads = {name: keras.layers.Dense(2)(features) for name in ("form", "colour")}
    model = keras.Model(inputs, heads)
    bare, whole = answers(without_augmentation(model)), answers(model)
    assert bare.keys() == {"form", "colour"}
    for name in bare:
        np.testing.assert_array_equal(bare[name], whole[name])


def test_a_model_without_augmentation_is_returned_as_it_is(lenet):
    assert without_augmentation(lenet) is lenet


def wrong(path, images):
    return np.eye(10, dtype="float32")[np.zeros(len(images), int)]


def broken(path, images):
    raise RuntimeError("no such operation\nmore")


def test_a_format_that_fails_leaves_the_others(with_model, tmp_path, monkeypatch):
    formats = Registry("format", [FORMATS.find("litert"), Format("openvino", "model.xml", "", broken)])
    monkeypatch.setattr(exporting, "FORMATS", formats)
    out = tmp_path / "out"
    done = command("export", with_model, "--out", out)
    assert done.exit_code == 1
    assert done.stderr == "Not exported as openvino: no such operation more.\n"
    assert "model.tflite" in done.stdout
    assert {file.name for file in out.iterdir()} == {"export.json", "labels.txt", "model.tflite"}
    told = json.loads((out / "export.json").read_text("utf-8"))
    assert [each["format"] for each in told["files"]] == ["litert"]
    assert told["failed"] == [{"format": "openvino", "reason": "no such operation more"}]


def test_where_every_format_fails_the_error_gives_each_reason_and_nothing_is_kept(
    with_model, tmp_path, monkeypatch
):
    failing = [Format("litert", "model.tflite", "", wrong), Format("openvino", "model.xml", "", broken)]
    monkeypatch.setattr(exporting, "FORMATS", Registry("format", failing))
    images = np.zeros((2, 28, 28, 3), "uint8")
    with pytest.raises(TlkitError) as refused:
        export(open_run(with_model), tmp_path / "out", images=images)
    assert "litert: its probabilities differ from those of Keras by up to" in str(refused.value)
    assert "openvino: no such operation more." in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_files_are_not_overwritten_unasked(exported, with_model):
    refused = command("export", with_model, "--format", "openvino").exception
    assert isinstance(refused, OutputError)


def test_unknown_formats_and_missing_images_are_refused_before_anything_is_written(with_model, tmp_path):
    done = command("export", with_model, "--format", "litrt", "--out", tmp_path / "x")
    assert isinstance(done.exception, UnknownNameError)
    assert "litert" in str(done.exception)
    moved = tmp_path / "moved"
    shutil.copytree(with_model, moved, ignore=shutil.ignore_patterns("exported"))
    numbers = json.loads((moved / "metrics.json").read_text("utf-8"))
    (moved / "metrics.json").write_text(json.dumps(numbers | {"data": str(tmp_path / "gone")}), "utf-8")
    with pytest.raises(DataError, match="--images FOLDER"):
        export(open_run(moved), tmp_path / "x")
    (tmp_path / "none").mkdir()
    done = command("export", moved, "--images", tmp_path / "none")
    assert isinstance(done.exception, DataError)


def test_named_images_are_compared_on(with_model, tmp_path):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30, 3), "uint8")
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    images = read_images([tmp_path], 28)
    assert images.shape == (3, 28, 28, 3)
    told = export(open_run(with_model), tmp_path / "out", formats=["litert"], images=images)
    assert [each["images"] for each in told["files"]] == [3]
