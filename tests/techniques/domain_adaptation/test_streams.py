"""A classifier that adapts to a stream of unlabelled images."""

import keras
import numpy as np
import pytest
from pushes import graph

from tlkit.errors import DataError, TlkitError
from tlkit.techniques.domain_adaptation import EATA, SAR, STREAM_METHODS, CoTTA, StreamAdapter, StreamTENT
from tlkit.techniques.domain_adaptation.streams.adapter import classes_used

layers, NAMES = keras.layers, STREAM_METHODS.names
SIZE = 8


def images(n, seed, *, scale=1.0, offset=0.0):
    """Return images and labels: the brighter half of an image is its class, left or right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    x = rng.normal(100, 30, (n, SIZE, SIZE, 3))
    x[labels == 0, :, : SIZE // 2] += 60
    x[labels == 1, :, SIZE // 2 :] += 60
    return (scale * x + offset).astype("float32"), labels


def network(norm=layers.BatchNormalization, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.RandomBrightness(0.1, value_range=(0, 255)),
            layers.Rescaling(1 / 100),
            layers.Conv2D(8, 3, strides=2, padding="same"),
            norm(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(2, "softmax"),
        ]
    )


@pytest.fixture(scope="module")
def classifier():
    """A network that has learned the images, with statistics of its own."""
    model = network()
    x, y = images(256, 0)
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=3, batch_size=32, verbose=0)
    norm = model.layers[3]
    assert isinstance(norm, layers.BatchNormalization)
    seen = keras.Model(model.inputs, norm.input)(x)
    norm.moving_mean.assign(np.mean(seen, axis=(0, 1, 2)))
    norm.moving_variance.assign(np.var(seen, axis=(0, 1, 2)))
    return model


@pytest.fixture(scope="module")
def adapters(classifier):
    """An adapter of each method; a test resets it first."""
    source = images(64, 1)[0]
    options = {"tent": StreamTENT(0.1), "sar": SAR(0.1), "eata": EATA(0.1), "cotta": CoTTA(0.1, views=1)}
    return {name: StreamAdapter(classifier, options.get(name, name), source=source) for name in NAMES}


def run(adapter, x, *sizes):
    ends = np.cumsum(sizes)
    return np.concatenate([adapter.predict(x[end - n : end]) for n, end in zip(sizes, ends, strict=True)])


def state(adapter):
    return [np.array(each) for each in adapter._state()]


@pytest.mark.parametrize("name", NAMES)
def test_a_reset_restores_every_bit_and_the_users_classifier_never_changes(name, adapters, classifier):
    adapter, (x, _) = adapters[name], images(70, 2, scale=0.5, offset=80)
    before, start = classifier.get_weights(), state(adapter)
    first = run(adapter, x, 1, 64, 5)
    assert (first.shape, first.dtype) == ((70, 2), np.float32)
    np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-5)
    if name != "none":
        assert any((a != b).any() for a, b in zip(start, state(adapter), strict=True))
    adapter.reset()
    for now, then in zip(state(adapter), start, strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(run(adapter, x, 1, 64, 5), first)
    adapter.reset()
    for now, then in zip(classifier.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@graph
def test_a_graph_gives_the_same_after_a_reset(classifier):
    adapter, (x, _) = StreamAdapter(classifier, SAR(0.1)), images(71, 2, scale=0.5)
    first = run(adapter, x, 64, 1, 1, 5)
    adapter.reset()
    np.testing.assert_array_equal(run(adapter, x, 64, 1, 1, 5), first)


def test_no_adaptation_is_the_classifier_itself(adapters, classifier):
    x, _ = images(9, 3)
    expected = classifier.predict(x, verbose=0)
    np.testing.assert_allclose(run(adapters["none"], x, 4, 5), expected, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
@pytest.mark.parametrize("size", [4, 32])
def test_a_shift_of_brightness_and_contrast_is_undone(name, size, adapters, classifier):
    x, y = images(64, 4, scale=0.4, offset=180)
    plain = np.mean(classifier.predict(x, verbose=0).argmax(axis=1) == y)
    adapter = adapters[name]
    adapter.reset()
    answers = run(adapter, x, *[size] * (64 // size))
    adapter.reset()
    assert np.mean(answers.argmax(axis=1) == y) > max(plain + 0.1, 0.75)


def test_the_model_is_a_plain_model_that_can_be_saved(adapters, tmp_path):
    adapter, (x, _) = adapters["tent"], images(64, 5, scale=0.5)
    adapter.reset()
    run(adapter, x, 64)
    adapter.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), adapter.model.predict(x, verbose=0), atol=1e-6)
    adapter.reset()


def test_statistics_of_single_images_are_those_of_all_of_them(classifier):
    """With a source that counts for nothing, n single images give mean and variance of the n images."""
    x, _ = images(40, 6, scale=0.7)
    adapter = StreamAdapter(classifier, "statistics", source_examples=1e-6, memory=1e9)
    run(adapter, x, *[1] * 40)
    norm = next(each for each in adapter.model.layers if isinstance(each, layers.BatchNormalization))
    seen = np.array(keras.Model(adapter.model.inputs, norm.input)(x))
    np.testing.assert_allclose(norm.moving_mean, seen.mean(axis=(0, 1, 2)), atol=1e-3)
    np.testing.assert_allclose(norm.moving_variance, seen.var(axis=(0, 1, 2)), rtol=1e-2)


def test_source_images_correct_a_layer_that_was_frozen_in_training(classifier):
    """A frozen layer has other statistics than the source: on the source itself, nothing must change."""
    frozen = keras.models.clone_model(classifier)
    frozen.set_weights(classifier.get_weights())
    frozen.trainable = False
    norm = next(each for each in frozen.layers if isinstance(each, layers.BatchNormalization))
    norm.moving_mean.assign(norm.moving_mean - 0.5)
    norm.moving_variance.assign(4 * np.array(norm.moving_variance))
    own, (x, _) = np.array(norm.moving_mean), images(256, 7)

    def moved(**options):
        adapter = StreamAdapter(frozen, "statistics", **options)
        run(adapter, x, 64, 64, 64, 64)
        norm = next(each for each in adapter.model.layers if isinstance(each, layers.BatchNormalization))
        return np.abs(np.array(norm.moving_mean) - own).max()

    assert moved(source=x) < 0.02 < 0.2 < moved()


def trained(adapter):
    return [np.array(each) for each in adapter._stream.trainable_variables]


def test_sar_leaves_out_uncertain_examples(classifier):
    x, _ = images(32, 8)
    none = StreamAdapter(classifier, SAR(1.0, margin=0.0))
    before = trained(none)
    run(none, x, 16, 16)
    for now, then in zip(trained(none), before, strict=True):
        np.testing.assert_array_equal(now, then)
    every = StreamAdapter(classifier, SAR(1.0, margin=1.0))
    run(every, x, 16, 16)
    assert any((a != b).any() for a, b in zip(trained(every), before, strict=True))


def test_sar_descends_by_the_gradient_at_the_perturbed_weights():
    from tlkit.techniques.domain_adaptation.streams.gradients import SharpnessAware

    w = keras.Variable(np.array([3.0, 4.0], "float32"))
    optimizer = SharpnessAware(0.1, radius=0.5)
    optimizer.build([w])
    optimizer.apply([2 * keras.ops.convert_to_tensor(w)], [w])  # of the squared length
    np.testing.assert_allclose(w, [3.3, 4.4], rtol=1e-5)
    optimizer.apply([2 * keras.ops.convert_to_tensor(w)], [w])
    np.testing.assert_allclose(w, [3.0 - 0.66, 4.0 - 0.88], rtol=1e-5)


def test_eatas_penalty_is_zero_at_the_start_and_pulls_back(classifier):
    x, source = images(64, 9, scale=0.1, offset=90)[0], images(8, 1)[0]

    def moved(penalty):
        method = EATA(1.0, margin=1.0, similarity=9.0, penalty=penalty)
        adapter = StreamAdapter(classifier, method, source=source)
        assert float(method.penalty()) == 0
        assert any((each > 0).any() for each in method.fisher)
        method.fisher = [np.ones_like(each) for each in method.fisher]
        run(adapter, x, *[16] * 4)
        return float(method.penalty())

    assert 0 < moved(0.5) < 0.8 * moved(0.0)


def test_eata_leaves_out_what_is_like_the_predictions_before(adapters):
    eata = adapters["eata"].method
    eata.average.assign([0.0, 0.0])
    left, right = np.array([[0.99, 0.01]], "float32"), np.array([[0.01, 0.99]], "float32")
    assert float(eata.loss(left, left)) > 0
    assert float(eata.loss(left, left)) == pytest.approx(0, abs=1e-6)
    assert float(eata.loss(right, right)) > 0
    adapters["eata"].reset()
    np.testing.assert_array_equal(eata.average, [0, 0])


def test_cottas_teacher_is_the_moving_average_of_the_student(classifier):
    adapter = StreamAdapter(classifier, CoTTA(0.5, momentum=0.9, restored=0.0, views=1))
    student, teacher = (
        [np.array(each) for each in part.trainable_variables or part.weights]
        for part in (adapter.method.network, adapter.method.network)
    )
    run(adapter, images(64, 10, scale=0.5)[0], 64)
    ids = {id(each) for each in adapter.method.network.trainable_variables}
    pairs = zip(adapter.method.network.variables, adapter.model.variables, strict=True)
    moved = [(np.array(a), np.array(b)) for a, b in pairs if id(a) in ids]
    for (after, average), start in zip(moved, student, strict=True):
        np.testing.assert_allclose(average, 0.9 * start + 0.1 * after, atol=1e-6)
    assert any((after != start).any() for (after, _), start in zip(moved, teacher, strict=True))


def test_cotta_returns_weights_to_the_start(classifier):
    adapter = StreamAdapter(classifier, CoTTA(0.5, restored=1.0, views=1))
    before = trained(adapter)
    run(adapter, images(64, 10, scale=0.5)[0], 64)
    for now, then in zip(trained(adapter), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_collapse_is_recovered_from(classifier):
    x, y = images(256, 11)
    adapter = StreamAdapter(classifier, StreamTENT(1e-3))
    adapter._stream.trainable_variables[1].assign([1e3] * 8)  # the offset: one class for all images
    answers = run(adapter, x, *[32] * 8)
    assert classes_used(answers[:32].argmax(axis=1)) == 1
    assert adapter.recoveries == 1
    assert np.mean(answers[64:].argmax(axis=1) == y[64:]) > 0.9
    adapter._stream.trainable_variables[1].assign([np.nan] * 8)
    assert np.isfinite(adapter.predict(x[:4])).all()
    assert adapter.recoveries == 2
    adapter.reset()
    assert adapter.recoveries == 0


def test_a_stream_of_one_class_is_no_collapse(classifier):
    x, y = images(400, 12)
    adapter = StreamAdapter(classifier, StreamTENT(1e-3))
    run(adapter, x[y == 0][:128], *[16] * 8)
    assert adapter.recoveries == 0


@pytest.mark.parametrize("norm", [layers.LayerNormalization, lambda: layers.GroupNormalization(4)])
@pytest.mark.parametrize("name", ["sar", "eata"])
def test_other_normalisation_is_trained_too(norm, name):
    x, _ = images(16, 13)
    adapter = StreamAdapter(
        network(norm), EATA(1.0, margin=1.0) if name == "eata" else SAR(1.0, margin=1.0), source=x
    )
    before = trained(adapter)
    run(adapter, x, 16)
    assert len(before) == 2
    assert any((a != b).any() for a, b in zip(trained(adapter), before, strict=True))


def test_logits_are_accepted_and_probabilities_returned(classifier):
    inputs = classifier.inputs[0]
    logits = layers.Dense(2)(keras.Model(classifier.inputs, classifier.layers[-1].input)(inputs))
    answers = StreamAdapter(keras.Model(inputs, logits), "tent").predict(images(4, 14)[0])
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


def test_what_cannot_be_adapted_is_refused(classifier):
    plain = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Flatten(), layers.Dense(2, "softmax")])
    with pytest.raises(TlkitError, match="has no BatchNormalization"):
        StreamAdapter(plain, "statistics")
    with pytest.raises(TlkitError, match="no normalisation with a scale"):
        StreamAdapter(plain, "sar")
    with pytest.raises(TlkitError, match="needs unlabelled images of the source"):
        StreamAdapter(classifier, "eata")
    with pytest.raises(TlkitError, match="at least 0"):
        StreamAdapter(classifier, memory=-1)
    adapter = StreamAdapter(classifier, "none")
    for wrong in (np.zeros((2, 9, 9, 3)), np.zeros((SIZE, SIZE, 3)), np.zeros((0, SIZE, SIZE, 3))):
        with pytest.raises(DataError, match="expected"):
            adapter.predict(wrong)
