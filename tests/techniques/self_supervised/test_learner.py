import keras
import numpy as np
import pytest
from keras import ops
from pushes import full, graph, mostly_full

import tlkit
from tlkit.data import Split
from tlkit.errors import DataError, NoLabelsError, TlkitError
from tlkit.models import build_classifier
from tlkit.techniques.feature_extraction import extract
from tlkit.techniques.self_supervised import (
    BYOL,
    METHODS,
    Denoising,
    Objective,
    Reconstruction,
    Rotation,
    SelfSupervised,
    SimCLR,
    random_views,
)

KINDS_OF_LOSS = map(METHODS.find, ("byol", "masked", "rotation"))


def learner_of(backbone, objective, learning_rate=3e-3, **settings):
    learner = SelfSupervised(backbone, objective)
    learner.compile(keras.optimizers.Adam(learning_rate), **settings)
    return learner


@graph
@pytest.mark.parametrize("method", mostly_full(METHODS, *KINDS_OF_LOSS), ids=lambda method: method.name)
def test_each_method_trains_the_whole_backbone_and_lowers_its_loss(method, small, images, tmp_path):
    reconstructs = issubclass(method.target, Reconstruction)
    objective = method.build() if reconstructs else method.build(random_views(crop=0.2))
    backbone = small()
    before = [np.array(each) for each in backbone.get_weights()]
    learner = learner_of(backbone, objective)
    history = learner.fit(images, batch_size=32, epochs=20, verbose=0).history
    assert np.mean(history["loss"][-3:]) < np.mean(history["loss"][:3])
    for old, new in zip(before, backbone.get_weights(), strict=True):
        assert not np.array_equal(old, new)
    backbone.save(tmp_path / "backbone.keras")
    again = keras.models.load_model(tmp_path / "backbone.keras")
    assert again.predict(images, verbose=0) == pytest.approx(backbone.predict(images, verbose=0), abs=1e-4)


@full
@graph
def test_training_makes_embeddings_of_views_more_similar_to_those_of_their_image(small, images):
    views, found = random_views(crop=0.2, grey=0), {}
    learner = learner_of(small(), SimCLR(views, projector=(32, 16)))
    augmented = ops.convert_to_numpy(views(ops.cast(images, "float32"), training=True))
    for when in ("before", "after"):
        found[when] = (
            learner.features_and_embeddings(augmented)[1],
            learner.features_and_embeddings(images)[1],
        )
        learner.fit(images, batch_size=64, epochs=80 if when == "before" else 1, verbose=0)
    unit = {
        when: [z / np.linalg.norm(z, axis=1, keepdims=True) for z in pair] for when, pair in found.items()
    }
    accuracy = {when: np.mean((a @ b.T).argmax(axis=1) == np.arange(64)) for when, (a, b) in unit.items()}
    assert accuracy["after"] > accuracy["before"] + 0.2


def test_labels_are_never_read(small, images):
    unlabelled = Split(images, np.arange(64) % 2).unlabelled()
    with pytest.raises(NoLabelsError):
        _ = unlabelled.labels
    learner_of(small(), Rotation()).fit(unlabelled, batch_size=32, verbose=0)

    class Secret(Split):
        @property
        def labels(self):
            raise AssertionError("labels were read")

    learner_of(small(), Rotation()).fit(Secret(images, np.arange(64) % 2), batch_size=32, verbose=0)
    with pytest.raises(DataError, match="expected images without labels"):
        learner_of(small(), Rotation()).fit((images, np.arange(64)), verbose=0)


class _Stop(keras.callbacks.Callback):
    """Interrupt training at the end of an epoch, after the preceding callbacks."""

    def __init__(self, epoch):
        super().__init__()
        self.last = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.last:
            raise InterruptedError


@full
@pytest.mark.parametrize("name", ["byol", "masked"])
def test_a_resumed_training_ends_with_the_same_weights(name, small, images, tmp_path):
    method = next(each for each in METHODS if each.name == name)
    backup = keras.callbacks.BackupAndRestore(tmp_path, double_checkpoint=True)
    fit = {"batch_size": 16, "epochs": 3, "seed": 3, "verbose": 0}
    whole = learner_of(small(), method.build())
    whole.fit(images, **fit)
    with pytest.raises(InterruptedError):
        learner_of(small(), method.build()).fit(images, callbacks=[backup, _Stop(0)], **fit)
    keras.utils.set_random_seed(99)  # as in another process
    resumed = learner_of(small(seed=99), method.build())
    epochs = resumed.fit(images, callbacks=[backup], **fit).epoch
    assert epochs == [1, 2]
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert other == pytest.approx(one, abs=1e-4)


def test_the_seed_determines_the_loss(small, images):
    fit = {"batch_size": 16, "epochs": 2, "verbose": 0}
    first, same, other = (
        learner_of(small(), SimCLR(), 1e-2).fit(images, seed=seed, **fit).history["loss"]
        for seed in (0, 0, 1)
    )
    assert first == pytest.approx(same, rel=1e-4)
    assert first[0] != pytest.approx(other[0], rel=1e-4)


def test_each_epoch_has_its_own_order_and_augmentation(small):
    """The objective records the images of each batch, which are constant, and the mean of its noise."""
    images = np.arange(64, dtype="uint8")[:, None, None, None] * np.ones((16, 16, 3), "uint8")
    recorded = []

    class Record(Objective):
        def prepare(self, backbone):
            super().prepare(backbone)
            self.noise = keras.layers.GaussianNoise(1.0)

        def call(self, images, training=False):
            pixels = ops.cast(images, "float32")
            changed = self.noise(pixels, training=True)
            recorded.append((ops.convert_to_numpy(pixels)[:, 0, 0, 0], float(ops.mean(changed - pixels))))
            return {"loss": ops.mean(self.encoder(images, training=training)) ** 2}

    learner = learner_of(small(), Record(), run_eagerly=True, jit_compile=False)
    for _ in range(2):
        learner.fit(images, batch_size=32, epochs=3, verbose=0)
    orders = [np.concatenate([recorded[i][0], recorded[i + 1][0]]).tolist() for i in range(0, 12, 2)]
    assert all(sorted(order) == list(range(64)) for order in orders)
    assert len(set(map(tuple, orders[:3]))) == len({noise for _, noise in recorded[:6]}) / 2 == 3
    assert orders[:3] == orders[3:]
    assert [noise for _, noise in recorded[:6]] == [noise for _, noise in recorded[6:]]


def test_only_full_batches_are_used(small, images):
    sizes = []

    class Count(Objective):
        def call(self, images, training=False):
            sizes.append(images.shape[0])
            return {"loss": ops.mean(self.encoder(images, training=training)) ** 2}

    learner = learner_of(small(), Count(), run_eagerly=True)
    learner.fit(images[:50], batch_size=16, verbose=0)
    assert sizes == [16, 16, 16]


def test_the_loss_is_evaluated_on_validation_images(small, images):
    history = learner_of(small(), Denoising()).fit(
        images[:32], batch_size=32, epochs=1, validation_data=images[32:], verbose=0
    )
    assert np.isfinite(history.history["val_loss"]).all()


def test_frozen_stages_do_not_change(small, images):
    backbone = small()
    backbone.layers[1].trainable = False
    before = backbone.layers[1].get_weights()
    learner_of(backbone, SimCLR()).fit(images, batch_size=32, epochs=2, verbose=0)
    for old, new in zip(before, backbone.layers[1].get_weights(), strict=True):
        assert np.array_equal(old, new)


@pytest.mark.parametrize("policy", mostly_full(["mixed_float16", "mixed_bfloat16"], "mixed_float16"))
@pytest.mark.parametrize("name", mostly_full(["simclr", "vicreg", "byol", "masked"], "byol"))
def test_methods_train_in_mixed_precision(policy, name, small, images):
    keras.mixed_precision.set_global_policy(policy)
    try:
        method = next(each for each in METHODS if each.name == name)
        backbone = small()
        learner = learner_of(backbone, method.build())
        history = learner.fit(images, batch_size=32, epochs=4, verbose=0).history
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(history["loss"]).all()
    assert {each.dtype for each in backbone.trainable_variables} == {"float32"}


def test_a_nan_loss_stops_training_with_an_error(small, images):
    learner = learner_of(small(), SimCLR(), 1e30)
    with pytest.raises(TlkitError, match=r"the loss became nan.*smaller learning rate"):
        learner.fit(images, batch_size=32, epochs=5, verbose=0)
    assert all(np.isfinite(each).all() for each in learner.backbone.get_weights())


@full
def test_the_trained_backbone_can_be_fine_tuned(digits):
    backbone = tlkit.load_backbone("LeNet", weights=None)
    learner = learner_of(backbone, SimCLR(random_views(flip=False)))
    learner.fit(digits.train, batch_size=64, verbose=0)
    features = extract(backbone, digits.test, keep=False)
    assert features == pytest.approx(learner.features_and_embeddings(digits.test)[0], abs=1e-4)
    model = build_classifier(backbone, classes=10)
    before = np.array(backbone.get_weights()[0])
    history = tlkit.fine_tune(model, digits.train, epochs=2)
    assert history.history["loss"][1] < history.history["loss"][0]
    assert not np.array_equal(before, backbone.get_weights()[0])


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (slice(20), {"batch_size": 32}, "20 images are fewer than a batch of 32.*batch_size=20"),
        (slice(1), {"batch_size": 1}, "1 images are too few"),
        (slice(0), {}, "0 images are too few"),
        (slice(64), {"batch_size": 1}, "SimCLR compares the images of a batch.*at least 2"),
    ],
)
def test_too_few_images_are_refused(rows, options, message, small, images):
    with pytest.raises(DataError, match=message):
        learner_of(small(), SimCLR()).fit(images[rows], verbose=0, **options)


def test_a_batch_of_one_is_enough_for_a_pretext_task(small, images):
    history = learner_of(small(), Rotation()).fit(images[:4], batch_size=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_other_sizes_backbones_and_losses_are_refused(small, images):
    learner = learner_of(small(), SimCLR())
    with pytest.raises(DataError, match=r"image_size=16"):
        learner.fit(np.zeros((64, 8, 8, 3), "uint8"), verbose=0)
    with pytest.raises(DataError, match=r"shape \(16, 16\)"):
        learner.fit(np.zeros((64, 16, 16), "uint8"), verbose=0)
    with pytest.raises(TlkitError, match="loss is that of the method, SimCLR"):
        learner.compile("adam", loss="mse")
    with pytest.raises(TlkitError, match=r"\(None, 8\) to \(None, 2\); expected images"):
        SelfSupervised(keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)], name="head"), SimCLR())


def test_a_backup_of_another_architecture_is_refused(small, images, tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(InterruptedError):
        learner_of(small(), Rotation()).fit(images, epochs=2, batch_size=32, callbacks=[backup, _Stop(0)])
    with pytest.raises(TlkitError, match=r"backup.*another network"):
        learner_of(small(size=32), Rotation()).fit(
            np.zeros((64, 32, 32, 3), "uint8"), epochs=2, batch_size=32, callbacks=[backup]
        )


def test_reinitialize_resets_the_backbone_and_the_moving_average(small, images):
    learner = learner_of(small(), BYOL())
    learner.fit(images, batch_size=32, epochs=3, verbose=0)
    trained = learner.backbone.get_weights()
    tlkit.reinitialize(learner)
    learner.objective.start()
    kernels = [each.ndim > 1 for each in trained]
    for is_kernel, old, new in zip(kernels, trained, learner.backbone.get_weights(), strict=True):
        assert not (is_kernel and np.array_equal(old, new))
    for ema, weight in zip(learner.objective.ema_weights, learner.objective.network.weights, strict=True):
        assert np.array_equal(np.array(ema), np.array(weight))
