"""The state of a stopped training: what is damaged is noticed, said, and repeated."""

import math

import keras
import numpy as np
import pytest

from tlkit._internal.cache import from_json, to_json
from tlkit._internal.state import SavedState
from tlkit.callbacks import Backup
from tlkit.errors import TlkitError, TlkitWarning


@pytest.fixture
def state(tmp_path):
    return SavedState(tmp_path / "state", {"seed": 1})


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_part_is_computed_once_and_reads_the_same(state):
    calls = []

    def compute():
        calls.append(1)
        return {"weights": np.arange(3.0), "name": np.array("ä")}

    for _ in range(2):
        found = state.once("part", compute)
        assert found["weights"].tolist() == [0, 1, 2]
        assert str(found["name"]) == "ä"
    assert len(calls) == 1
    assert state.once("stopped", lambda: None) is None
    assert state.names() == ["part"]


def test_every_flipped_bit_is_noticed(state):
    state.save("part", {"weights": np.arange(3.0)})
    path = state.folder / "part.npz"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 13):
        flip(path, bit)
        with pytest.warns(TlkitWarning, match=r"part\.npz is damaged"):
            assert state.load("part") is None
        path.write_bytes(whole)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.warns(TlkitWarning, match="is damaged"):
            assert state.load("part") is None


def test_settings_may_be_infinite(tmp_path):
    for _ in range(2):
        SavedState(tmp_path, {"minutes": math.inf})
    with pytest.raises(TlkitError, match="minutes Infinity then and 5 now"):
        SavedState(tmp_path, {"minutes": 5})


def test_other_settings_are_named(state):
    SavedState(state.folder, {"seed": 1})
    with pytest.raises(TlkitError, match=r"seed 1 then and 2 now.*--overwrite"):
        SavedState(state.folder, {"seed": 2})


@pytest.mark.parametrize("content", ["", "[1]", "nonsense", '{"seed": 2, "checksum": "1"}'])
def test_damaged_settings_start_again(state, content):
    state.save("part", {"weights": np.arange(3.0)})
    (state.folder / "settings.json").write_text(content)
    with pytest.warns(TlkitWarning, match="starts again"):
        again = SavedState(state.folder, {"seed": 1})
    assert again.names() == []
    SavedState(state.folder, {"seed": 1})


def test_parts_of_a_part_have_its_name(state):
    control, voter = state.within("control-"), state.within("voter-")
    control.save("plan", {"steps": np.array(3)})
    assert voter.load("plan") is None
    assert control.names() == ["plan"]
    assert state.names() == ["control-plan"]


def test_json_has_a_checksum_of_its_content():
    text = to_json({"names": ["cat", "dög", "\udcff"], "rate": 0.1})
    assert from_json(text)["names"] == ["cat", "dög", "\udcff"]
    with pytest.raises(ValueError, match="changed since it was written"):
        from_json(text.replace("cat", "bat"))


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    return model


X, Y = np.random.default_rng(0).normal(size=(2, 16, 4)).astype("float32")
BATCH = {"batch_size": 16, "verbose": 0}


def fit(folder, epochs):
    """Train for so many epochs in all; return the network and the backup."""
    model = network()
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True)
    backup = Backup(folder, also=[stopping])
    held_out = (X, Y[:, :2])
    options = {"epochs": epochs, "initial_epoch": backup.epoch, "validation_data": held_out, **BATCH}
    model.fit(X, Y[:, :2], callbacks=[stopping, backup], **options)
    return model, backup


def test_a_training_continues_with_weights_optimizer_dropout_and_early_stopping(tmp_path):
    whole, history = fit(tmp_path / "whole", 6)
    fit(tmp_path / "stopped", 3)
    resumed, again = fit(tmp_path / "stopped", 6)
    assert again.epoch == 3
    assert again.history()["loss"] == pytest.approx(history.history()["loss"], rel=1e-5)
    assert again.also[0].best == pytest.approx(history.also[0].best, rel=1e-5)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_damaged_epoch_is_replaced_by_the_one_before(tmp_path):
    fit(tmp_path, 4)
    states = sorted(path.name for path in tmp_path.glob("*.npz"))
    assert states == ["epoch-00003.npz", "epoch-00004.npz"]
    flip(tmp_path / states[1], 4000)
    with pytest.warns(TlkitWarning, match=r"epoch-00004\.npz is damaged"):
        assert Backup(tmp_path).epoch == 3


def test_a_state_of_another_network_is_refused(tmp_path):
    fit(tmp_path, 1)
    backup, other = Backup(tmp_path), keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    other.compile("sgd", "mse")
    with pytest.raises(TlkitError, match="another network"):
        other.fit(X, Y[:, :2], epochs=2, initial_epoch=1, callbacks=[backup], **BATCH)
