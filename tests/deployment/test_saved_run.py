"""The folder of a run is opened; any other folder is refused, and the error says what to do."""

import json
import shutil

import pytest
from PIL import Image

from tlkit._internal.cache import file_checksum, to_json
from tlkit.deployment.predict import predict
from tlkit.deployment.saved_run import open_run
from tlkit.errors import TlkitError


def test_a_folder_or_its_model_names_the_run(with_model):
    for given in (with_model, with_model / "model.keras"):
        run = open_run(given)
        assert run.class_names == list("0123456789")
        assert (run.split, run.accuracy) == ("test", 0.75)
    assert run.model.output_shape == (None, 10)


def test_of_an_adaptation_the_target_counts(saved):
    adapted = saved(accuracy={"last": 0.4}, accuracy_by_split={"train": 0.9, "test": 0.6})
    assert open_run(adapted).accuracy == 0.6


def test_a_run_that_was_not_evaluated_has_no_accuracy(saved):
    run = open_run(saved(interval=None))
    assert run.split is None
    assert run.accuracy is None


def test_what_is_no_run_is_refused(tmp_path, saved):
    with pytest.raises(TlkitError, match=r"no metrics\.json in"):
        open_run(tmp_path / "nowhere")
    folder = saved()
    with pytest.raises(TlkitError, match="There is no model at"):
        _ = open_run(folder).model
    (folder / "model.keras").write_bytes(b"no model")
    with pytest.raises(TlkitError, match="cannot be opened by Keras"):
        _ = open_run(folder).model
    (folder / "metrics.json").write_text(json.dumps({"tasks": {}}), "utf-8")
    with pytest.raises(TlkitError, match="not a run of one classifier"):
        open_run(folder)
    (folder / "metrics.json").write_text("{", "utf-8")
    with pytest.raises(TlkitError, match="cannot be read"):
        open_run(folder)


def test_a_model_of_another_run_is_refused(with_model, saved):
    folder = saved(class_names=["cat", "dog"])
    shutil.copy(with_model / "model.keras", folder)
    with pytest.raises(TlkitError, match=r"has 10 outputs, and .* names 2 classes"):
        _ = open_run(folder).model


@pytest.fixture
def sealed(with_model, tmp_path):
    """The folder of a run with checksums, as `write_report` writes them."""
    folder = tmp_path / "sealed"
    shutil.copytree(with_model, folder)
    numbers = json.loads((folder / "metrics.json").read_text())
    numbers["checksums"] = {"model.keras": file_checksum(folder / "model.keras")}
    (folder / "metrics.json").write_text(to_json(numbers))
    return folder


def test_a_model_with_the_class_names_of_another_run_is_refused(sealed, digits):
    assert open_run(sealed).model.output_shape == (None, 10)
    image = sealed / "image.png"
    Image.fromarray(digits.test.images[0]).save(image)
    assert predict(sealed, [image])[0]["classes"][0]["class"] in "0123456789"
    with (sealed / "model.keras").open("ab") as file:
        file.write(b"\0")
    for use in (lambda: open_run(sealed).model, lambda: predict(sealed, [image])):
        with pytest.raises(TlkitError, match=r"not the model that .*metrics\.json describes") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_numbers_that_have_changed_are_refused(sealed):
    text = (sealed / "metrics.json").read_text()
    (sealed / "metrics.json").write_text(text.replace('"support": 36', '"support": 37', 1))
    with pytest.raises(TlkitError, match=r"its checksum is wrong.*remove its entry 'checksum'"):
        open_run(sealed)
