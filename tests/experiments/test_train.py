import os
import signal

import keras
import numpy as np
import pytest

from tlkit.backbones import engines
from tlkit.callbacks import EpochLines, Interruptible
from tlkit.errors import TlkitError, UnknownNameError
from tlkit.experiments.statistics import compare, summary
from tlkit.experiments.train import class_weights, train


@pytest.fixture(scope="module")
def scratch(digits):
    return train(digits, technique="scratch", backbone="LeNet", epochs=12, seed=1)


def test_a_run_predicts_every_split_and_says_how_long_it_took(scratch, digits):
    assert {name: rows.shape for name, rows in scratch.probabilities.items()} == {
        "train": (200, 10),
        "validation": (100, 10),
        "test": (100, 10),
    }
    assert scratch.accuracy("test") > 0.6
    assert scratch.seconds["total"] >= scratch.seconds["training"] > scratch.seconds["features"] == 0


def test_a_run_knows_what_was_frozen(scratch):
    assert set(scratch.frozen["state"]) == {"trainable"}


def test_fine_tuning_starts_with_the_head(digits, tmp_path, scratch):
    from tlkit.models import backbone_of

    backbone_of(scratch.model).save(tmp_path / "backbone.keras")
    run = train(digits, backbone="LeNet", weights=str(tmp_path / "backbone.keras"), epochs=2, head_epochs=30)
    assert list(run.history) == ["head", "fine-tuning"]
    assert run.frozen.loc["conv1", "state"] == "frozen"
    assert run.frozen.loc["dense", "state"] == "trainable"
    frozen = train(
        digits,
        technique="feature-extraction",
        backbone="LeNet",
        weights=str(tmp_path / "backbone.keras"),
    )
    assert frozen.frozen["state"].tolist() == ["frozen"] * 3 + ["trainable"]
    whole = frozen.model.predict(digits.test.images, verbose=0)
    np.testing.assert_allclose(whole, frozen.probabilities["test"], atol=1e-4)


def test_features_are_computed_once(digits, monkeypatch):
    """Freezing the backbone between extraction and head training must not look like another backbone."""
    computed = []
    infer = engines.infer
    monkeypatch.setattr(engines, "infer", lambda *given, **more: computed.append(1) or infer(*given, **more))
    train(digits, technique="feature-extraction", backbone="LeNet", weights=None, epochs=1, seed=5)
    assert len(computed) == len(digits.splits)


def test_epoch_lines_carry_a_name(digits, lenet, capsys):
    lenet.compile("adam", loss="sparse_categorical_crossentropy")
    lenet.fit(digits.test.batches(), epochs=1, callbacks=[EpochLines("control")], verbose=0)
    assert capsys.readouterr().out.startswith("control            epoch  1 of 1: loss ")


def test_unknown_techniques_are_named(digits):
    with pytest.raises(UnknownNameError, match="Did you mean 'fine-tuning'"):
        train(digits, technique="finetuning")


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5])
def test_a_seed_that_is_out_of_range_is_refused(digits, seed):
    with pytest.raises(TlkitError, match=f"seed={seed} was given; expected a whole number from 0 to"):
        train(digits, technique="scratch", backbone="LeNet", seed=seed)


def test_ctrl_c_ends_training_with_the_best_epoch(digits, lenet):
    class PressCtrlC(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    watch = Interruptible()
    lenet.compile("adam", loss="sparse_categorical_crossentropy")
    history = lenet.fit(digits.train.batches(), epochs=50, callbacks=[PressCtrlC(), watch], verbose=0)
    assert watch.interrupted
    assert len(history.history["loss"]) <= 3
    assert signal.getsignal(signal.SIGINT) is before


def test_class_weights_make_every_class_count_alike():
    labels = np.array([0] * 30 + [1] * 5)
    weights = class_weights(labels)
    assert weights[0] * 30 == pytest.approx(weights[1] * 5)
    assert class_weights(np.array([0, 0, 1])) is None


def test_a_study_runs_every_arm_with_every_seed_and_seeds_keras():
    draws = compare({"draw": lambda seed: {"value": float(keras.random.uniform(()))}}, seeds=[0, 1, 0])
    assert draws["value"][0] == draws["value"][2] != draws["value"][1]
    table = summary(draws, "value")
    assert table.loc["draw", "seeds"] == 3
    assert np.isnan(summary(draws[:1], "value").loc["draw", "std"])


def test_a_backbone_of_ones_own_is_transferred_or_starts_anew(digits):
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, strides=2)]
    backbone = keras.Sequential([keras.Input((28, 28, 3)), *parts], name="mine")
    before = [np.array(each) for each in backbone.get_weights()]
    for technique, moved in (("feature-extraction", False), ("scratch", True)):
        run = train(digits, technique=technique, backbone=backbone, epochs=1)
        assert run.backbone == "mine"
        after = run.model.get_layer("mine").get_weights()
        assert moved == any(not np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert all(map(np.array_equal, before, backbone.get_weights()))
