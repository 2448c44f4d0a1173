import shutil
from collections import namedtuple
from functools import partial

import keras
import numpy as np
import pytest
from PIL import Image

from tlkit import attach_head, augmentation, build_classifier, fine_tune, freeze, unfreeze
from tlkit._internal import cache
from tlkit.data import Split
from tlkit.data import images as files
from tlkit.data.images import ImageFiles
from tlkit.errors import TlkitError
from tlkit.models import backbone_of
from tlkit.optimizers import adam
from tlkit.techniques.frozen_trunk import cut, kept_activations
from tlkit.techniques.views import ViewBatches, Views, training_augmentation

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), "uint8")
SPLIT = Split(IMAGES, np.arange(12) % 3)


def classifier(backbone="EfficientNetLite0", **options):
    keras.utils.set_random_seed(0)
    return build_classifier(backbone, 3, weights=None, image_size=32, **options)


@pytest.fixture(scope="module")
def lite():
    return classifier()


@pytest.fixture(scope="module")
def trained(lite):
    """A classifier whose top two stages were trained on activations, and its earlier weights."""
    model = attach_head(backbone_of(lite), lite.get_layer("head"), augmentation=augmentation())
    before = {weight.path: weight.numpy() for weight in backbone_of(model).weights}
    fine_tune(model, SPLIT, SPLIT, from_stage="block7", epochs=3, views=2, batch_size=4)
    return model, before


def outputs(*parts):
    x = IMAGES.astype("float32")
    for part in parts:
        x = part(x, training=False)
    return keras.ops.convert_to_numpy(x)


def agree(one, other, tolerance=1e-4):
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("stage", ["block7", "block2"])
def test_trunk_and_rest_together_compute_the_whole_network(lite, stage):
    unfreeze(lite, from_stage=stage)
    agree(outputs(*cut(lite)), outputs(lite))


def test_the_trunk_is_as_large_as_possible_without_trainable_layers(lite):
    unfreeze(lite, from_stage="block7")
    trunk, rest = cut(lite)
    assert not trunk.trainable_weights
    assert {w.path for w in rest.trainable_weights} == {w.path for w in lite.trainable_weights}
    assert rest.layers[1].name == "block7a_expand_conv"


def test_a_cut_does_not_divide_a_residual_block(lite):
    unfreeze(lite, from_stage="block7")
    backbone_of(lite).get_layer("block6d_project_conv").trainable = True  # within the last branch of stage 6
    trunk, rest = cut(lite)
    assert rest.layers[1].name.startswith("block6d_")
    agree(outputs(trunk, rest), outputs(lite))


def test_a_completely_frozen_backbone_is_the_trunk(lite):
    freeze(lite)
    trunk, rest = cut(lite)
    assert trunk.output_shape == backbone_of(lite).output_shape
    assert [layer.name for layer in rest.layers[1:]] == ["pooling", "head"]


def test_after_training_trunk_and_rest_still_compute_the_whole_network(trained):
    model, _ = trained
    unfreeze(model, from_stage="block7")
    agree(outputs(*cut(model)), outputs(model))


def test_training_changes_the_rest_and_no_bit_of_the_trunk(trained):
    model, before = trained
    moved = {
        weight.path: not np.array_equal(weight.numpy(), before[weight.path])
        for weight in backbone_of(model).weights
    }
    changed = {path for path, has in moved.items() if has}
    assert changed == {path for path in before if "block7" in path or "top" in path} - {
        weight.path for weight in backbone_of(model).weights if "_bn" in weight.path
    }


def test_the_whole_model_predicts_the_same_after_saving_and_loading(trained, tmp_path):
    model, _ = trained
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    agree(outputs(loaded), outputs(model), 1e-6)


def test_the_weights_are_those_of_plain_fine_tuning():
    """One batch contains all images, so the order has no effect; activations are rounded to float16."""
    weights = []
    for views in (None, 1):
        model = classifier("LeNet", dropout=0.0)
        fine_tune(model, SPLIT, from_stage="dense", epochs=6, views=views, batch_size=12)
        weights.append(model.get_layer("head").get_weights()[0])
    start = classifier("LeNet", dropout=0.0).get_layer("head").get_weights()[0]
    # compare means: Adam divides by the scale of the gradient, which amplifies rounding of small gradients
    assert np.abs(weights[1] - weights[0]).mean() < 0.01 * np.abs(weights[0] - start).mean()


def test_there_are_as_many_different_views_as_requested():
    model = classifier("LeNet", augmentation=augmentation())
    unfreeze(model, from_stage="dense")
    trunk, _ = cut(model)
    with kept_activations(trunk, SPLIT, views=5, augment=training_augmentation(model, None)) as kept:
        assert kept.shape == (12, 5, 3072)
        assert kept.dtype == "float16"
        assert len(np.unique(kept.reshape(60, -1), axis=0)) == 60


def test_without_augmentation_the_only_view_is_the_image():
    model = classifier("LeNet")
    unfreeze(model, from_stage="dense")
    trunk, _ = cut(model)
    assert training_augmentation(model, None) is None
    with kept_activations(trunk, SPLIT) as kept:
        agree(kept[:, 0], outputs(trunk), 1e-3)


def test_the_views_of_an_image_are_adjacent():
    views = Views(IMAGES, 3, lambda images: images)
    assert len(views) == 36
    for rows in (slice(0, 8), slice(8, 16), slice(28, 36), slice(0, 36)):
        np.testing.assert_array_equal(views[rows], np.repeat(IMAGES, 3, axis=0)[rows])


def test_augment_acts_before_the_augmentation_of_the_model():
    received = []
    model = classifier("LeNet", augmentation=keras.layers.RandomInvert((1.0, 1.0)))
    changed = training_augmentation(model, lambda images: received.append(images) or np.zeros_like(images))
    assert np.all(changed(IMAGES[:2].astype("float32")) == 255)
    np.testing.assert_array_equal(received[0], IMAGES[:2])


def test_each_view_of_each_image_is_used_once_in_as_many_epochs_as_views():
    tags = np.arange(12 * 4, dtype="float16").reshape(12, 4, 1)
    batches = ViewBatches(tags, np.arange(12), 5, shuffle=True, seed=3)
    received = []
    for _ in range(4):
        epoch = [batches[index] for index in range(len(batches))]
        views = np.concatenate([x for x, _ in epoch])[:, 0]
        labels = np.concatenate([y for _, y in epoch])
        np.testing.assert_array_equal(views // 4, labels)
        assert len(set(views % 4)) > 1, "the views of one epoch are mixed"
        received += views.tolist()
        batches.on_epoch_end()
    assert sorted(received) == list(range(48))


def test_a_file_is_decoded_once_for_all_its_views(tmp_path, monkeypatch):
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    decoded = []
    decode = files.decode
    monkeypatch.setattr(
        files, "decode", lambda path, image_size: decoded.append(path) or decode(path, image_size)
    )
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    views = Views(ImageFiles(paths, 32), 4, lambda images: images)
    for start in range(0, 48, 8):
        views[start : start + 8]
    assert sorted(decoded) == sorted(paths)


def test_the_activations_are_deleted(lite, tmp_path, monkeypatch):
    # a folder of its own: other test processes keep activations at the same time
    monkeypatch.setattr(cache, "directory", lambda name: tmp_path)
    unfreeze(lite, from_stage="block7")
    with kept_activations(cut(lite)[0], IMAGES):
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_options_of_fine_tuning_work_on_activations():
    model = classifier("LeNet", augmentation=augmentation())
    history = fine_tune(
        model,
        SPLIT,
        SPLIT,
        from_stage="dense",
        epochs=2,
        views=2,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        optimizer=partial(adam, weight_decay=1e-2, use_ema=True, ema_momentum=0.9),
        class_weight={0: 1.0, 1: 2.0, 2: 1.0},
    ).history
    assert len(history["val_loss"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "expected at least 1"),
        ({"views": 2}, "all views are the same"),
        ({"views": 1, "train": SPLIT.batches(4, mix=lambda *both: both, classes=3)}, "Omit one"),
        ({"views": 1, "from_stage": None}, "no frozen layer below"),
    ],
)
def test_impossible_options_are_refused_with_advice(options, message):
    with pytest.raises(TlkitError, match=message):
        fine_tune(classifier("LeNet"), **({"from_stage": "dense", "train": SPLIT} | options))


def test_a_full_disk_is_an_error_before_any_computation(monkeypatch):
    usage = namedtuple("usage", "total used free")(0, 0, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(TlkitError, match=r"need 0\.0 GB on the disk"):
        fine_tune(classifier("LeNet"), SPLIT, from_stage="dense", views=1)


def test_an_activation_too_large_for_float16_is_an_error_and_no_file_remains(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path))  # other tests write into the shared one meanwhile
    model = classifier("LeNet")
    unfreeze(model, from_stage="dense")
    kernel, bias = (first := backbone_of(model).layers[2]).get_weights()
    first.set_weights([1e6 * kernel, bias])
    trunk, _ = cut(model)
    with pytest.raises(TlkitError, match="largest float16"), kept_activations(trunk, SPLIT):
        pass
    assert list(cache.directory("activations").iterdir()) == []
