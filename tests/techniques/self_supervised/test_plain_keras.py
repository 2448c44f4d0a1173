"""`SelfSupervised` accepts the data and callbacks of Keras, and its backbone remains a plain Keras model."""

import subprocess
import sys
from functools import partial

import keras
import numpy as np
import plain_keras
import pytest
from PIL import Image
from plain_keras import check_its_settings_make_an_equal_one, predicted_without_tlkit, tf_data
from pushes import full, mostly_full

from tlkit.data import ImageFiles, Split
from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.techniques.self_supervised import (
    BYOL,
    METHODS,
    Denoising,
    Masked,
    Rotation,
    SelfSupervised,
    SimCLR,
    SimSiam,
    VICReg,
    random_views,
)

callbacks = keras.callbacks
Batches = partial(plain_keras.Batches, size=16)


# callbacks


@full  # tests/contract checks such a checkpoint on every push
@pytest.mark.parametrize("options", [{}, {"save_freq": 2}])
def test_a_checkpoint_is_the_plain_backbone(options, small, images, tmp_path):
    backbone = small(map_of_features=True)
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "backbone.keras", **options)
    SelfSupervised(backbone, BYOL()).fit(images, batch_size=16, callbacks=checkpoint, verbose=0)
    found = predicted_without_tlkit(tmp_path / "backbone.keras", images)
    assert found == pytest.approx(backbone.predict(images, verbose=0), abs=1e-5)


def test_a_checkpoint_of_the_weights_fits_the_backbone(small, images, tmp_path):
    backbone, path = small(), tmp_path / "best.weights.h5"
    checkpoint = callbacks.ModelCheckpoint(path, save_weights_only=True, save_best_only=True)
    learner = SelfSupervised(backbone, SimCLR())
    options = {"validation_data": images, "callbacks": [checkpoint], "verbose": 0}
    learner.fit(images, batch_size=32, **options)
    other = small(seed=1)
    other.load_weights(path)
    for one, again in zip(backbone.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, again)


@full
def test_callbacks_of_keras_work(small, images, tmp_path):
    learner = SelfSupervised(small(), BYOL())
    learner.compile(keras.optimizers.Adam(1e-3))
    several = [
        callbacks.BackupAndRestore(tmp_path / "backup"),
        callbacks.TensorBoard(tmp_path / "board", histogram_freq=1),
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.ReduceLROnPlateau(),
        callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        callbacks.EarlyStopping(restore_best_weights=True, patience=5),
        callbacks.TerminateOnNaN(),
    ]
    options = {"validation_data": images, "batch_size": 32, "epochs": 2, "verbose": 0}
    for each in (None, several[0], tuple(several), callbacks.CallbackList(several[1:], model=learner)):
        history = learner.fit(images, callbacks=each, **options).history
        assert len(history["val_loss"]) == 2
    assert history["learning_rate"][1] == pytest.approx(history["learning_rate"][0] / 2)
    assert (tmp_path / "log.csv").read_text().startswith("epoch,")
    assert list((tmp_path / "board").rglob("*tfevents*"))


# data


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize(
    "kind", mostly_full(["tf.data", "PyDataset", "split.batches", "files"], "tf.data", "files")
)
def test_images_can_have_any_type_that_keras_accepts(kind, small, images, tmp_path):
    names = [tmp_path / f"{i}.png" for i in range(64)]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(name)
    data = {
        "tf.data": lambda: tf_data(images).shuffle(64).batch(16),
        "PyDataset": lambda: Batches(images),
        "split.batches": lambda: Split(images).batches(16, shuffle=True, labels=False),
        "files": lambda: ImageFiles(names, 16),
    }[kind]()
    backbone = small()
    before = backbone.get_weights()
    fit = {"batch_size": 16} if kind == "files" else {"batch_size": 999}  # ignored for batches
    learner = SelfSupervised(backbone, Rotation())
    history = learner.fit(data, validation_data=data, epochs=2, verbose=0, **fit).history
    assert np.isfinite(history["val_loss"]).all()
    assert int(learner.optimizer.iterations) == 8
    assert not np.array_equal(before[0], backbone.get_weights()[0])


@full
def test_the_seed_determines_the_noise_for_batches_too(small, images):
    data, losses = Batches(images), []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(len(losses))
        learner = SelfSupervised(small(), Denoising(), name="learner")
        losses.append(learner.fit(data, seed=seed, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] != pytest.approx(losses[2], rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: tf_data(x, np.arange(64)).batch(16),
            r"tuple of 2.*map\(lambda images, labels: images\)",
        ),
        (lambda x: Batches(x, np.arange(64)), r"tuple of 2; expected batches of images without labels"),
        (lambda x: Split(x, np.arange(64)).batches(16), "labels=False of Split.batches"),
        (lambda x: tf_data(x).batch(16).repeat(), "repeats for ever"),
        (lambda x: tf_data(x), r"single images of shape \(16, 16, 3\); expected batches"),
        (lambda x: tf_data(x).skip(64).batch(16), "yields no batch"),
        (lambda x: Batches(x[:, :8]), r"shape \(8, 16, 3\) were given, but small takes \(16, 16, 3\)"),
        (lambda x: Batches(x, size=1), "SimCLR compares the images of a batch.*at least 2"),
        (lambda x: (x, np.arange(64)), "expected images without labels"),
    ],
)
def test_unsuitable_data_raise_a_clear_error(change, message, small, images):
    data = change(images)
    learner = SelfSupervised(small(), SimCLR())
    with pytest.raises(DataError, match=message):
        learner.fit(data, verbose=0)
    with pytest.raises(DataError, match=message):
        learner.fit(images, batch_size=32, validation_data=data, verbose=0)


# custom backbones


def tokens():
    images = keras.Input((16, 16, 3))
    x = keras.layers.Reshape((16, 8))(keras.layers.Conv2D(8, 4, strides=4)(images))
    return keras.Model(images, keras.layers.LayerNormalization()(x), name="tokens")


def in_lists():
    images = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(images)
    return keras.Model([images], [x], name="lists")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("build", [tokens, in_lists])
def test_each_method_trains_any_backbone_that_fits_it(build, method, images):
    backbone = build()
    if build is tokens and method.name in ("denoising", "masked"):
        with pytest.raises(TlkitError, match=r"maps images .* to \(16, 8\).*instead of tokens"):
            SelfSupervised(backbone, method.build())
        return
    learner = SelfSupervised(backbone, method.build())
    before = backbone.get_weights()
    assert np.isfinite(learner.fit(images, batch_size=32, verbose=0).history["loss"]).all()
    assert not np.array_equal(before[0], backbone.get_weights()[0])
    assert learner.features_and_embeddings(images)[0].shape == (64, 8)


def test_images_of_variable_size_cannot_be_reconstructed():
    anywhere = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)], name="anywhere")
    SelfSupervised(anywhere, SimCLR())
    with pytest.raises(TlkitError, match="needs images of a fixed size"):
        SelfSupervised(anywhere, Masked())


# names, settings, files


def test_a_method_is_found_by_its_name(small):
    assert isinstance(SelfSupervised(small(), "SimCLR").objective, SimCLR)
    with pytest.raises(UnknownNameError, match="Did you mean 'simclr'"):
        SelfSupervised(small(), "simcl")
    for objective, message in ((SimCLR, "the class SimCLR"), (3, "objective=3")):
        with pytest.raises(
            TlkitError, match=rf"{message} was given; expected an instance, such as SimCLR\(\)"
        ):
            SelfSupervised(small(), objective)


def test_the_compile_state_of_the_backbone_is_kept(small, images, tmp_path):
    backbone = small()
    optimizer = keras.optimizers.SGD(0.01)
    backbone.compile(optimizer, "mse")
    checkpoint = callbacks.ModelCheckpoint(tmp_path / "backbone.keras")
    SelfSupervised(backbone, "byol").fit(images, batch_size=32, callbacks=checkpoint, verbose=0)
    assert backbone.optimizer is optimizer
    assert int(optimizer.iterations) == 0
    backbone.fit(images, np.zeros((64, 8)), verbose=0)
    assert int(optimizer.iterations) == 2


MADE = [
    *(method.build() for method in METHODS),
    SimCLR(random_views(flip=False), projector=(8, 4), temperature=0.5),
    VICReg(invariance=1.0),
    SimSiam(predictor=8, stop_gradient=False),
    BYOL(momentum=0.5),
    Masked(hidden=0.25, patch=4, width=8),
    Rotation(keras.layers.RandomFlip(seed=1)),
]


@pytest.mark.parametrize("made", MADE, ids=lambda each: type(each).__name__)
def test_its_config_makes_an_equal_object(made):
    check_its_settings_make_an_equal_one(made)


@full
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("method", METHODS, ids=lambda each: each.name)
def test_a_saved_learner_resumes_training(method, small, images, tmp_path):
    learner = SelfSupervised(small(), method.build())
    learner.compile(keras.optimizers.Adam(1e-3))
    learner.fit(images, batch_size=16, epochs=2, verbose=0)
    learner.save(tmp_path / "learner.keras")
    again = keras.saving.load_model(tmp_path / "learner.keras")
    for one, other in zip(
        learner.features_and_embeddings(images), again.features_and_embeddings(images), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-5)
    ends = [each.fit(images, batch_size=16, epochs=1, seed=5, verbose=0) for each in (learner, again)]
    assert ends[0].history["loss"] == pytest.approx(ends[1].history["loss"], rel=1e-4)
    for one, other in zip(learner.weights, again.weights, strict=True):
        assert np.array(one) == pytest.approx(np.array(other), abs=1e-4)
    assert int(again.optimizer.iterations) == 12


def test_the_moving_average_is_saved_and_restored(small, images, tmp_path):
    learner = SelfSupervised(small(), BYOL(momentum=1.0))  # the moving average never changes
    learner.compile(keras.optimizers.SGD(0.1))
    start = [np.array(each) for each in learner.objective.ema_weights]
    learner.fit(images, batch_size=32, epochs=2, verbose=0)
    learner.save(tmp_path / "learner.keras")
    again = keras.saving.load_model(tmp_path / "learner.keras")
    again.fit(images, batch_size=32, verbose=0)
    for ema, first in zip(again.objective.ema_weights, start, strict=True):
        np.testing.assert_array_equal(np.array(ema), first)
    weights = again.objective.network.weights
    assert not all(np.array_equal(np.array(a), b) for a, b in zip(weights, start, strict=True))


LOAD = """
import sys, keras
from tlkit.techniques.self_supervised import SelfSupervised
learner = keras.saving.load_model(sys.argv[1])
print(type(learner.objective).__name__)
"""


@full
def test_loading_a_learner_needs_only_the_import_of_its_class(small, tmp_path):
    SelfSupervised(small(), "masked").save(tmp_path / "learner.keras")
    command = [sys.executable, "-c", LOAD, tmp_path / "learner.keras"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "Masked"
