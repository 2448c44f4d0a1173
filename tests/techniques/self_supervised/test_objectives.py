import keras
import numpy as np
import pytest
from keras import ops
from pushes import full, graph

import tlkit
from tlkit.errors import TlkitError
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
    quarter_turns,
    random_views,
    spread,
)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def test_rotation_labels_match_the_pixels(images):
    rotated, turns = map(numpy, quarter_turns(ops.convert_to_tensor(images[:5])))
    assert rotated.shape == (20, 16, 16, 3)
    for index, (image, turn) in enumerate(zip(rotated, turns, strict=True)):
        assert np.array_equal(image, np.rot90(images[index % 5], turn))


def test_a_rotation_needs_square_images(small):
    tall = keras.Sequential([keras.Input((16, 8, 3)), keras.layers.Flatten()], name="tall")
    with pytest.raises(TlkitError, match=r"16 x 8 pixels.*square"):
        SelfSupervised(tall, Rotation())


def test_the_predicted_side_gets_no_gradient(small, gradient_of):
    """The predictor has no gradient here, so only the predicted view could have one."""
    first, second = np.random.default_rng(0).normal(size=(2, 8, 128)).astype("float32")
    stops, flows = SimSiam(), SimSiam(stop_gradient=False)
    for objective, moves in ((stops, False), (flows, True)):
        objective.prepare(small())
        objective.prediction_head = lambda x, training: ops.stop_gradient(x)
        gradient = gradient_of(lambda x, o=objective: o.view_loss(x, ops.convert_to_tensor(second)), first)
        assert bool(np.any(gradient != 0)) is moves


def test_the_predicting_side_gets_a_gradient(small, gradient_of):
    first, second = np.random.default_rng(0).normal(size=(2, 8, 128)).astype("float32")
    objective = SimSiam(projector=(32, 128))
    objective.prepare(small())
    assert np.any(gradient_of(lambda x: objective.view_loss(x, ops.convert_to_tensor(second)), first) != 0)


def test_the_moving_average_follows_its_closed_form(small, images):
    """After k steps: m^k start + (1 - m) * sum of m^(k - 1 - i) times the weights before step i."""
    momentum, steps = 0.7, 4
    learner = SelfSupervised(small(), BYOL(momentum=momentum))
    learner.compile(keras.optimizers.SGD(0.5))
    network, averages = learner.objective.network, learner.objective.ema_weights
    start = [np.array(numpy(each)) for each in averages]
    before = []
    for _ in range(steps):
        before.append(network.get_weights())
        learner.train_on_batch(images[:16])
    trainable = {id(variable) for variable in network.trainable_variables}
    for k, each in enumerate(averages):
        if id(network.weights[k]) not in trainable:
            continue  # statistics of batch normalisation, which also change within a step
        history = sum(momentum ** (steps - 1 - i) * weights[k] for i, weights in enumerate(before))
        expected = momentum**steps * start[k] + (1 - momentum) * history
        assert numpy(each) == pytest.approx(expected, abs=1e-5)
    moved = [np.abs(numpy(a) - b).max() for a, b in zip(averages, start, strict=True)]
    assert max(moved) > 1e-4


def test_the_moving_average_has_its_own_weights_which_are_not_trainable(small, images):
    learner = SelfSupervised(small(), BYOL())
    objective = learner.objective
    x = ops.cast(images[:4], "float32")
    same = numpy(objective.ema_embeddings(x, training=False))
    assert same == pytest.approx(numpy(objective.network(x)), abs=1e-5)
    for each in objective.ema_weights:
        each.assign(0 * numpy(each))
    assert np.all(numpy(objective.ema_embeddings(x, training=False)) == 0)
    assert np.any(numpy(objective.network(x)) != 0)
    trainable = {id(variable) for variable in learner.trainable_variables}
    assert not trainable & {id(each) for each in objective.ema_weights}


def test_evaluation_changes_no_weights(small, images, weights_of):
    for objective in (BYOL(), SimCLR(), Rotation(), Masked()):
        learner = SelfSupervised(small(), objective)
        learner.compile("adam")
        before = weights_of(learner)
        learner.test_on_batch(images[:16])
        after = weights_of(learner)
        for path in before:
            if "rotation_accuracy" not in path:
                assert np.array_equal(before[path], after[path]), path


def test_hidden_patches_are_grey_and_only_they_contribute_to_the_loss(small, images):
    objective = Masked(hidden=0.5, patch=4)
    objective.prepare(small())
    pixels = ops.cast(images, "float32")
    corrupted, mask = map(numpy, objective.corrupt(pixels))
    assert mask.shape == (64, 16, 16, 1)
    assert np.all(np.isin(mask, [0, 1]))
    assert mask.mean() == pytest.approx(0.5, abs=0.06)
    hidden = np.repeat(mask, 3, axis=-1) == 1
    assert np.all(corrupted[hidden] == 127.5)
    assert np.array_equal(corrupted[~hidden], images[~hidden].astype("float32"))
    patches = mask.reshape(64, 4, 4, 4, 4).transpose(0, 1, 3, 2, 4).reshape(-1, 16)
    assert np.all(patches.min(axis=1) == patches.max(axis=1))
    assert len(np.unique(mask.reshape(64, -1), axis=0)) == 64  # each image has other hidden patches
    errors = ops.square((objective.reconstruct(ops.convert_to_tensor(corrupted)) - pixels) / 255)
    objective.corrupt = lambda pixels: (ops.convert_to_tensor(corrupted), ops.convert_to_tensor(mask))
    assert float(objective(images)["loss"]) == pytest.approx(numpy(errors)[hidden].mean(), rel=1e-4)


def test_noise_has_the_requested_standard_deviation(small):
    objective = Denoising(noise=10.0)
    objective.prepare(small())
    corrupted, weights = objective.corrupt(ops.full((8, 16, 16, 3), 128.0))
    assert numpy(corrupted).std() == pytest.approx(10, rel=0.1)
    assert weights == 1.0


def test_a_decoder_reconstructs_images_of_any_size(small):
    for size in (16, 17, 30):
        for map_of_features in (False, True):
            objective = Masked()
            objective.prepare(small(size, map_of_features=map_of_features))
            assert objective.reconstruct(ops.zeros((2, size, size, 3))).shape == (2, size, size, 3)


@full
@graph
@pytest.mark.parametrize("made", [Denoising, Masked])
def test_reconstructions_differ_between_images(made, digits):
    """Without batch normalisation, the decoder would keep reconstructing the mean image."""
    images = digits.train.images
    learner = SelfSupervised(tlkit.load_backbone("LeNet", weights=None), made())
    learner.compile(keras.optimizers.Adam(2e-3))
    learner.fit(images, batch_size=50, epochs=20, verbose=0)
    pixels = images / 255.0
    error = np.square(numpy(learner.objective.reconstruct(images)) / 255.0 - pixels).mean()
    assert error < 0.85 * np.square(pixels - pixels.mean(axis=0)).mean()


@graph
@full
def test_without_stop_gradient_the_embeddings_collapse(small, images):
    found = {}
    for stops in (True, False):
        objective = SimSiam(random_views(crop=0.2), projector=(32, 16), predictor=8, stop_gradient=stops)
        learner = SelfSupervised(small(), objective)
        learner.compile(keras.optimizers.Adam(1e-2))
        learner.fit(images, batch_size=32, epochs=30, verbose=0)
        found[stops] = spread(learner.features_and_embeddings(images)[1])
    assert found[False] < 0.15 < 0.3 < found[True]


def test_views_change_images_only_in_training(images):
    views = random_views()
    x = ops.cast(images, "float32")
    one, two = (numpy(views(x, training=True)) for _ in range(2))
    assert one.shape == images.shape
    assert one.min() >= 0
    assert one.max() <= 255
    assert np.abs(one - two).mean() > 5
    assert np.array_equal(numpy(views(x, training=False)), images)


def test_views_change_only_what_their_options_allow(images):
    grey = np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1).astype("float32")
    view = numpy(random_views(colour=0, grey=0)(ops.convert_to_tensor(grey), training=True))
    assert view[..., 0] == pytest.approx(view[..., 1], abs=1e-3)
    to_grey = random_views(crop=0, turn=0, colour=0, grey=1.0, flip=False)
    view = numpy(to_grey(ops.cast(images, "float32"), training=True))
    assert view[..., 0] == pytest.approx(view[..., 2], abs=1e-3)
    assert np.corrcoef(view.mean(axis=-1).ravel(), images.mean(axis=-1).ravel())[0, 1] > 0.9


def test_layers_of_keras_cv_can_make_views(small, images):
    keras_cv = pytest.importorskip("keras_cv")
    views = keras.Sequential(
        [
            keras_cv.layers.RandomCropAndResize((16, 16), (0.5, 1.0), (0.8, 1.25)),
            keras_cv.layers.RandomColorJitter((0, 255), 0.2, 0.2, 0.2, 0.1),
        ]
    )
    learner = SelfSupervised(small(), VICReg(views))
    learner.compile("adam")
    assert np.isfinite(learner.fit(images, batch_size=32, verbose=0).history["loss"]).all()


def test_every_method_is_found_by_name():
    assert [METHODS.find(method.name.upper()) for method in METHODS] == list(METHODS)
    with pytest.raises(TlkitError, match="Did you mean 'simclr'"):
        METHODS.find("simcl")
    for method in METHODS:
        assert method.build().fewest >= 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimCLR(temperature=0), "temperature=0"),
        (lambda: BYOL(momentum=1.5), "momentum=1.5"),
        (lambda: Masked(hidden=1.0), "hidden=1.0"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(TlkitError, match=message):
        make()
