"""`load` accepts names, aliases and folders, and its errors suggest what works."""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from pushes import full

from tlkit.data import is_folder, load
from tlkit.errors import DataError, UnknownNameError


def test_the_case_of_a_name_does_not_matter():
    assert load("Digits/MNIST").card.name == "digits/mnist"


def test_an_alias_and_a_data_set_are_not_folders(animals, monkeypatch):
    monkeypatch.chdir(animals.parent)
    (animals.parent / "emoji").mkdir()
    assert not is_folder("emoji")
    assert is_folder("./emoji")
    assert load("emoji", image_size=8).card.name == "emoji/twemoji"


def test_a_misspelt_name_suggests_the_nearest_names():
    with pytest.raises(
        UnknownNameError, match=r"no data set named 'emoji/twemojy'\. Did you mean 'emoji/twemoji'"
    ):
        load("emoji/twemojy")
    with pytest.raises(UnknownNameError, match="Did you mean 'emoji'"):
        load("emojy")
    with pytest.raises(UnknownNameError, match=r"no data set named 'xyz'\. Known: solar, solar/mono"):
        load("xyz")


@pytest.mark.parametrize("path", ["./nowhere", "~/nowhere-at-all", "/nowhere", "my/nowhere", "my\\nowhere"])
def test_a_missing_path_is_reported_as_a_missing_folder(path):
    with pytest.raises(DataError, match=r"There is no folder at .*nowhere"):
        load(path)


def test_a_relative_folder_needs_no_dot(animals, monkeypatch):
    monkeypatch.chdir(animals.parent)
    assert load("animals", image_size=8).card.title == "animals"


def test_an_impossible_size_is_refused():
    with pytest.raises(DataError, match="image_size=0 was given; expected 1 to 4096 pixels"):
        load("digits/mnist", image_size=0)


@pytest.fixture
def tfds(monkeypatch):
    """A stand-in for tensorflow_datasets with ten grey images of two classes."""
    examples = [(np.full((6, 9, 1), i, "uint8"), i % 2) for i in range(10)]
    info = SimpleNamespace(
        features={"label": SimpleNamespace(names=["even", "odd"])},
        description="Numbers.",
        homepage="https://example.org",
        citation="Nobody (2026)",
    )
    module = SimpleNamespace(
        load=lambda name, as_supervised, with_info: ({"train": examples, "test": examples[:4]}, info),
        as_numpy=iter,
    )
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    return module


def test_a_tfds_name_keeps_its_splits_and_gets_the_missing_one(tfds):
    dataset = load("tfds:numbers", image_size=4)
    assert dataset.class_names == ["even", "odd"]
    assert dataset.card.counts == {"train": 8, "validation": 2, "test": 4}
    assert dataset.train.images.shape == (8, 4, 4, 3)
    assert (dataset.train.images[:, 0, 0, 0] % 2 == dataset.train.labels).all()


def test_the_error_of_tfds_without_a_network_suggests_offline_data_sets(tfds, monkeypatch):
    def fail(*args, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds, "load", fail)
    monkeypatch.setenv("TFDS_DATA_DIR", "/somewhere")
    with pytest.raises(DataError, match=r"no route to host.*/somewhere.*Offline, use solar, solar/mono"):
        load("tfds:numbers")


def test_the_error_of_a_missing_tfds_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r"pip install 'tlkit\[online\]'"):
        load("tfds:numbers")


PARITY = """\
import numpy as np
import tensorflow_datasets as tfds

from tlkit.data import load


class Parity(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        label = tfds.features.ClassLabel(names=["even", "odd"])
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, download):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(20):
            yield i, {"image": np.full((6, 9, 3), i, "uint8"), "label": i % 2}


print(load("tfds:parity", image_size=4).card.counts)
"""


@full
def test_a_data_set_of_the_installed_tfds_loads(tmp_path):
    """The real tensorflow-datasets prepares, stores and reads a data set."""
    pytest.importorskip("tensorflow_datasets")
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PARITY], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "{'test': 4, 'train': 12, 'validation': 4}" in done.stdout
    assert (tmp_path / "parity").is_dir()


def test_a_tfds_name_that_would_have_to_be_downloaded_is_refused_at_once_without_a_network(tfds, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/numbers.zip"
        builder = SimpleNamespace(is_prepared=lambda: False, url_infos={url: None})
        monkeypatch.setattr(tfds, "builder", lambda name: builder, raising=False)
        monkeypatch.setattr(tfds, "load", None)  # must not be called
        with pytest.raises(
            DataError, match=r"numbers' is not on this machine, and 127.0.0.1 cannot be reached"
        ):
            load("tfds:numbers")
        builder.is_prepared = lambda: True
        with pytest.raises(DataError, match="NoneType"):
            load("tfds:numbers")
