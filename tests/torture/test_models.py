"""Damaged models, checkpoints and metrics.json: one line of TlkitError, or the right answer."""

import json
import pickle
import shutil
import struct
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlkit.backbones.checkpoint import read_checkpoint
from tlkit.deployment.card import render
from tlkit.deployment.networks import open_network
from tlkit.deployment.predict import predict
from tlkit.deployment.saved_run import open_run
from tlkit.errors import TlkitError
from tlkit.models import build_classifier

pytestmark = pytest.mark.filterwarnings("ignore")
NAMES = ["one", "two", "three"]
DAMAGE = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 1), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.floats(0, 1)),
    st.tuples(st.just("bytes"), st.floats(0, 1), st.binary(min_size=1, max_size=40)),
)


def damaged(content, how):
    """Return bytes with one bit flipped, the end cut off, or other bytes somewhere."""
    place = min(int(how[1] * len(content)), len(content) - 1)
    if how[0] == "cut":
        return content[:place]
    if how[0] == "flip":
        return content[:place] + bytes([content[place] ^ 1 << how[2]]) + content[place + 1 :]
    return content[:place] + how[2] + content[place + len(how[2]) :]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a tiny run, with an image and the right answer."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    build_classifier("LeNet", classes=3, weights=None).save(folder / "model.keras")
    rows = [{"name": name, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 4} for name in NAMES]
    interval = {"split": "test", "images": 12, "level": 0.95, "low": 0.25, "high": 0.75}
    told = {
        "data": "digits",
        "command": "tlkit train",
        "technique": "scratch",
        "backbone": "LeNet",
        "seed": 0,
    }
    told |= {"image_size": 28, "classes": 3, "class_names": NAMES, "accuracy": {"test": 0.5}}
    told |= {
        "interval": interval,
        "per_class": rows,
        "splits": {"train": 9, "validation": None},
        "runs": [],
        "versions": {},
    }
    told |= {"skipped": {"count": 0, "files": []}, "duplicates": {"count": 0, "pairs": []}}
    (folder / "metrics.json").write_text(json.dumps(told), "utf-8")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28, 3), "uint8")).save(folder / "a.png")
    return folder, predict(folder, [folder / "a.png"], top=3)


def refused_or(call):
    """Return what a function returns; None if it raises a TlkitError of one line."""
    try:
        return call()
    except TlkitError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    return None


@given(how=DAMAGE)
def test_a_damaged_model_is_refused_or_answers_as_before(run, tmp_path_factory, how):
    folder, right = run
    other = tmp_path_factory.mktemp("damaged")
    shutil.copy(folder / "metrics.json", other)
    (other / "model.keras").write_bytes(damaged((folder / "model.keras").read_bytes(), how))
    found = refused_or(lambda: predict(other, [folder / "a.png"], top=3))
    assert found is None or found == right
    refused_or(lambda: open_run(other).model)


@given(member=st.sampled_from(["config.json", "metadata.json"]), how=DAMAGE)
def test_a_damaged_configuration_is_refused_or_a_model(run, tmp_path_factory, member, how):
    folder, _ = run
    path = tmp_path_factory.mktemp("damaged") / "model.keras"
    with zipfile.ZipFile(folder / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, damaged(old.read(name), how) if name == member else old.read(name))
    refused_or(lambda: open_network(path))


@given(how=DAMAGE)
def test_damaged_numbers_are_refused_or_make_a_card(run, tmp_path_factory, how):
    folder, _ = run
    other = tmp_path_factory.mktemp("damaged")
    (other / "metrics.json").write_bytes(damaged((folder / "metrics.json").read_bytes(), how))
    refused_or(lambda: render(open_run(other)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_numbers_of_another_form_are_refused_or_make_a_card(run, tmp_path_factory, data):
    folder, _ = run
    numbers = json.loads((folder / "metrics.json").read_text("utf-8"))
    name = data.draw(st.sampled_from(sorted(numbers)))
    if data.draw(st.booleans()):
        del numbers[name]
    else:
        numbers[name] = data.draw(JSON)
    other = tmp_path_factory.mktemp("changed")
    (other / "metrics.json").write_text(json.dumps(numbers), "utf-8")
    refused_or(lambda: render(open_run(other)))


def checkpoint():
    """A checkpoint of one tensor in the legacy format of PyTorch."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x007X\x03\x00\x00\x00cpuK\x0ctQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x03K\x04\x86K\x04K\x01\x86\x89}tR"
    state = b"\x80\x02}X\x01\x00\x00\x00a" + tensor + b"s."
    start = b"".join(
        pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    return (
        start + state + pickle.dumps(["7"], 2) + struct.pack("<Q", 12) + np.arange(12, dtype="<f4").tobytes()
    )


@given(how=DAMAGE)
def test_a_damaged_checkpoint_is_refused_or_has_tensors(tmp_path_factory, how):
    path = tmp_path_factory.mktemp("damaged") / "weights.pth"
    path.write_bytes(damaged(checkpoint(), how))
    found = refused_or(lambda: read_checkpoint(path))
    assert found is None or all(isinstance(each, np.ndarray) for each in found.values())


@given(
    content=st.binary(max_size=300),
    start=st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"]),
)
def test_random_bytes_are_refused(tmp_path_factory, content, start):
    folder = tmp_path_factory.mktemp("random")
    (folder / "weights.pth").write_bytes(start + content)
    (folder / "model.keras").write_bytes(start + content)
    assert refused_or(lambda: read_checkpoint(folder / "weights.pth")) is None
    assert refused_or(lambda: predict(folder, [folder / "weights.pth"])) is None


def test_the_checkpoint_is_right_before_it_is_damaged(tmp_path):
    (tmp_path / "weights.pth").write_bytes(checkpoint())
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "weights.pth")["a"], np.arange(12).reshape(3, 4))
