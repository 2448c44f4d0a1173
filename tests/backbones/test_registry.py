"""The table of backbones is complete and correct, and needs no Keras."""

import subprocess
import sys
from pathlib import Path

import keras
import pytest

from tlkit import backbones
from tlkit.backbones.registry import BACKBONES
from tlkit.errors import UnknownNameError

ONLINE = [row for row in backbones.list_backbones() if "keras.applications" in row.weights_source]


def test_the_table_contains_every_network_of_keras_applications():
    assert sorted(row.name for row in ONLINE) == [
        name for name in dir(keras.applications) if name[0].isupper()
    ]


def test_the_parameters_of_lenet_are_those_at_its_default_size():
    assert backbones.load_backbone("LeNet", weights=None).count_params() == BACKBONES.find("LeNet").parameters


def test_names_are_unique_and_case_does_not_matter():
    rows = backbones.list_backbones()
    assert len({row.name.lower() for row in rows}) == len(rows)
    assert all(BACKBONES.find(row.name.upper()) is row for row in rows)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"There is no backbone named 'ResNet5'.*'ResNet50'"):
        backbones.load_backbone("ResNet5")


def test_a_download_is_available_once_its_file_is_in_the_folder_of_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    row = BACKBONES.find("ResNet50")
    assert not row.available
    assert row.weights_path == tmp_path / "models" / row.weights_file
    row.weights_path.parent.mkdir()
    row.weights_path.touch()
    assert row.available


def test_the_folder_is_the_one_that_keras_uses(monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", lambda _, path, *__: Path(path).touch())
    row = BACKBONES.find("VGG16")
    downloaded = keras.utils.get_file("tlkit-test", "https://example.org", cache_subdir="models")
    Path(downloaded).unlink()
    assert Path(downloaded).parent == row.weights_path.parent


def test_a_wheel_is_available_if_it_is_installed(monkeypatch):
    assert BACKBONES.find("EfficientNetLite0").available
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not BACKBONES.find("EfficientNetLite0").available
    assert BACKBONES.find("EfficientNetLite0").weights_path is None


def test_lenet_has_no_weights():
    assert (BACKBONES.find("LeNet").available, BACKBONES.find("LeNet").weights_source) == (False, "none")


def test_listing_the_backbones_imports_no_keras():
    code = (
        "import sys, tlkit.backbones as b; b.list_backbones()[0].available; sys.exit('keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
