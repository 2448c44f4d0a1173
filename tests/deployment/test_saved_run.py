"""The folder of a run is opened; any other folder is refused, and the error says what to do."""

import json
import shutil

import pytest

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
