"""A training that was killed and resumed ends like one that was not."""

import json
from dataclasses import replace
from itertools import count

import keras
import numpy as np
import pytest
from pushes import FULL, full

from tlkit import adapt, train
from tlkit.data import Dataset, Split
from tlkit.errors import TlkitError
from tlkit.techniques import robust_fine_tuning
from tlkit.techniques.robust_fine_tuning import Tuner


class Killed(BaseException):
    """What nothing catches."""


class Kill(keras.callbacks.Callback):
    """End the process, as it were, after so many epochs."""

    def __init__(self, epochs):
        super().__init__()
        self.left = epochs

    def on_epoch_begin(self, epoch, logs=None):
        self.left -= 1
        if self.left < 0:
            raise Killed


@pytest.fixture(scope="module")
def few(digits):
    """60 digits to train, 30 to validate, 30 to test."""
    parts = (digits.train, digits.validation, digits.test)
    splits = [split.subset(slice(count)) for split, count in zip(parts, (60, 30, 30), strict=True)]
    return Dataset(*splits, digits.class_names, digits.card)


def same(one, other):
    for name, expected in one.probabilities.items():
        np.testing.assert_allclose(other.probabilities[name], expected, atol=1e-5)
    for first, second in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_allclose(second, first, atol=1e-5)
    assert other.history.keys() == one.history.keys()
    for phase, history in one.history.items():
        for name, values in history.items():
            assert other.history[phase][name] == pytest.approx(values, rel=1e-4, abs=1e-6), (phase, name)


SCRATCH = {"technique": "scratch", "backbone": "LeNet", "epochs": 4, "batch_size": 16}
TUNED = {"technique": "fine-tuning", "backbone": "LeNet", "weights": None, "minutes": None, "folds": 2}
TUNED |= {"least_steps": 24, "most_steps": 24, "learning_rate": 1e-3}
SHORT = {"least_steps": 9, "most_steps": 9}


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        pytest.param(SCRATCH, (2,), id="from scratch", marks=full),
        pytest.param(TUNED | SHORT, (4,), id="fine-tuning on stored activations"),
        pytest.param(TUNED, (1, 5, 4), id="fine-tuning, killed three times", marks=full),
        pytest.param(TUNED | {"fraction": 1.0}, (6,), id="fine-tuning of all layers", marks=full),
    ],
)
def test_training_continues_after_a_kill(few, tmp_path, settings, epochs, monkeypatch):
    better = count()  # the fine-tuned network is chosen, so that it is trained on all labels, too
    monkeypatch.setattr(robust_fine_tuning, "log_loss", lambda *_: -next(better))
    monkeypatch.setattr(Tuner, "_fits", lambda *_: True)
    whole = train(few, seed=3, backup=tmp_path / "whole", **settings)
    for epoch in epochs:
        with pytest.raises(Killed):
            train(few, seed=3, backup=tmp_path / "killed", callbacks=[Kill(epoch)], **settings)
    for _ in range(2 if FULL else 1):  # once more, when all is done, changes nothing
        same(whole, train(few, seed=3, backup=tmp_path / "killed", **settings))


def test_the_order_of_the_images_depends_on_the_seed(few, tmp_path, monkeypatch):
    batches, seeds = Split.batches, []

    def watched(split, *arguments, seed=0, **options):
        seeds.append(seed)
        return batches(split, *arguments, seed=seed, **options)

    monkeypatch.setattr(Split, "batches", watched)
    for seed in (3, 4):
        with pytest.raises(Killed):
            train(few, seed=seed, backup=tmp_path / str(seed), callbacks=[Kill(0)], **SCRATCH)
    assert seeds == [3, 4]


def test_a_finished_training_is_not_repeated(few, tmp_path):
    train(few, backup=tmp_path, **SCRATCH)
    train(few, backup=tmp_path, callbacks=[Kill(0)], **SCRATCH)


@pytest.fixture(scope="module")
def inverted(few):
    """The same digits, white on black."""
    parts = {name: Split(255 - split.images, split.labels) for name, split in few.splits.items()}
    return replace(few, **parts)


SINGLE = {"method": "dann", "backbone": "LeNet", "weights": None, "epochs": 3}


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        pytest.param(SINGLE, (1, 1), id="end to end", marks=full),
        pytest.param(SINGLE | {"method": "mcc", "features": True}, (1,), id="on features"),
    ],
)
def test_adaptation_continues_after_a_kill(few, inverted, tmp_path, settings, epochs):
    options = {"seed": 2, "evaluate": inverted, **settings}
    whole = adapt(few, inverted, backup=tmp_path / "whole", **options)
    for epoch in epochs:
        with pytest.raises(Killed):
            adapt(few, inverted, backup=tmp_path / "killed", callbacks=[Kill(epoch)], **options)
    again = adapt(few, inverted, backup=tmp_path / "killed", **options)
    same(whole, again)
    assert again.accuracies == pytest.approx(whole.accuracies)


@pytest.mark.parametrize(
    ("change", "said"), [({"seed": 9}, "seed 0 then and 9 now"), ({"epochs": 5}, "epochs 4 then and 5 now")]
)
def test_other_arguments_are_named(few, tmp_path, change, said):
    with pytest.raises(Killed):
        train(few, backup=tmp_path / "state", callbacks=[Kill(2)], **SCRATCH)
    with pytest.raises(TlkitError, match=said):
        train(few, backup=tmp_path / "state", **SCRATCH | change)
    with pytest.raises(TlkitError, match="train images"):
        train(replace(few, train=few.train.subset(slice(50))), backup=tmp_path / "state", **SCRATCH)


def test_settings_are_plain_values(few, tmp_path):
    with pytest.raises(Killed):
        train(few, backup=tmp_path, callbacks=[Kill(1)], optimizer=keras.optimizers.SGD(0.1), **SCRATCH)
    assert json.loads((tmp_path / "settings.json").read_text())["optimizer"]["class_name"] == "SGD"
    with pytest.raises(TlkitError, match="optimizer"):
        train(few, backup=tmp_path, optimizer=keras.optimizers.SGD(0.2), **SCRATCH)
