"""Adding classes keeps the old weights; distillation and rehearsal reduce forgetting."""

from functools import partial

import keras
import numpy as np
import plain_keras
import pytest
from keras import ops
from PIL import Image
from plain_keras import predicted_without_tlkit, tf_data
from pushes import full, mostly_full

from tlkit.data import ImageFiles, Split
from tlkit.errors import DataError, TlkitError
from tlkit.models import augmentation, build_classifier, freeze, reinitialize
from tlkit.techniques.continual_learning import (
    LearningWithoutForgetting,
    add_classes,
    distillation,
    forgetting,
    rehearse,
)

LOSS = {"loss": "sparse_categorical_crossentropy"}


def perceptron(classes, seed=0, activation="softmax"):
    """A small classifier of 2 features, with the same weights on every backend."""
    rng = np.random.default_rng(seed)
    layers = [keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(classes, activation=activation)]
    network = keras.Sequential([keras.Input((2,)), *layers], name="head")
    network.set_weights([rng.normal(0, 0.7, weight.shape) for weight in network.get_weights()])
    return network


def predict(network, x):
    return ops.convert_to_numpy(network(x, training=False))


def soft(probabilities, temperature=2.0):
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def rings():
    """Six classes around a circle; three old ones, three new between them."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6, dtype="int32"), 40)
    angles = np.pi / 3 * np.where(labels < 3, 2 * labels, 2 * labels + 1)
    x = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1) + rng.normal(0, 0.25, (240, 2))
    return x.astype("float32"), labels


@pytest.fixture(scope="module")
def teacher(rings):
    x, y = rings
    network = perceptron(3)
    network.compile(keras.optimizers.Adam(0.03), **LOSS)
    network.fit(x[y < 3], y[y < 3], epochs=20, shuffle=False, verbose=0)
    return network


def learn(teacher, x, y, epochs=20, **options):
    """Train a copy of the teacher by plain fine-tuning or, with options, without forgetting."""
    keras.utils.set_random_seed(1)
    classifier = add_classes(teacher, 3)
    learner = LearningWithoutForgetting(classifier, teacher, **options) if options else classifier
    learner.compile(keras.optimizers.Adam(0.1), **LOSS)
    history = learner.fit(x, y, epochs=epochs, verbose=0)
    return classifier, history.history


def accuracy(classifier, x, y, among=slice(None)):
    first = among.start or 0
    return float(np.mean(predict(classifier, x)[:, among].argmax(axis=1) + first == y))


# more outputs


def test_with_more_classes_the_old_weights_are_bit_identical():
    old = build_classifier("LeNet", 5, weights=None, augmentation=augmentation(), bottleneck=7)
    wide = add_classes(old, 3)
    before, after = (
        old.get_layer("head").layers[-1].get_weights(),
        wide.get_layer("head").layers[-1].get_weights(),
    )
    assert [weights.shape for weights in after] == [(7, 8), (8,)]
    for kept, weights in zip(before, after, strict=True):
        np.testing.assert_array_equal(weights[..., :5], kept)
    assert np.abs(after[0][:, 5:]).min() > 0
    for kept, weights in zip(old.get_weights()[:-2], wide.get_weights()[:-2], strict=True):
        if kept.dtype.kind == "f":
            np.testing.assert_array_equal(weights, kept)
    assert [layer.name for layer in wide.layers[1:]] == [layer.name for layer in old.layers[1:]]


def test_among_the_old_classes_the_wider_model_predicts_the_same(lite):
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    old = predict(lite, images)
    wide = predict(add_classes(lite, 2), images)
    np.testing.assert_allclose(wide[:, :3] / wide[:, :3].sum(axis=1, keepdims=True), old, atol=1e-5)


def test_training_the_wider_model_does_not_change_the_old_model(digits, weights_of):
    old = build_classifier("LeNet", 5, weights=None)
    before, wide = weights_of(old), add_classes(old, 5)
    wide.compile("adam", **LOSS)
    wide.fit(digits.train.images[:32], digits.train.labels[:32], verbose=0)
    for path, weights in weights_of(old).items():
        np.testing.assert_array_equal(weights, before[path])
    assert not np.array_equal(wide.get_weights()[0], old.get_weights()[0])


def test_a_frozen_backbone_stays_frozen_and_bit_identical(digits, weights_of):
    old = build_classifier("LeNet", 5, weights=None)
    freeze(old)
    wide = add_classes(old, 5)
    learner = LearningWithoutForgetting(wide, old)
    before = weights_of(wide.get_layer("LeNet"))
    learner.compile("adam", **LOSS)
    new = digits.train.subset(digits.train.labels >= 5)
    learner.fit(new.images, new.labels, epochs=2, verbose=0)
    after = weights_of(wide.get_layer("LeNet"))
    assert len(before) == 8
    for path, weights in before.items():
        np.testing.assert_array_equal(weights, after[path])
    assert not np.array_equal(wide.get_weights()[-2][:, :5], old.get_weights()[-2])


@pytest.mark.parametrize("end", ["softmax", "logits", "layer"])
def test_classes_are_added_to_any_classifier(end):
    """A custom functional model, whose softmax may be a layer after the last dense layer."""
    images = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(images))
    x = keras.layers.Dense(3, activation="softmax" if end == "softmax" else None)(x)
    old = keras.Model(images, keras.layers.Softmax()(x) if end == "layer" else x, name="mine")
    old.compile("sgd", lambda y, p: ops.mean(p, axis=-1))  # a loss that Keras cannot copy
    wide = add_classes(old, 2)
    pixels = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 3)).astype("float32")
    expected, found = predict(old, pixels), predict(wide, pixels)[:, :3]
    if end != "logits":
        found = found / found.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [layer.name for layer in wide.layers[1:]] == [layer.name for layer in old.layers[1:]]
    assert wide.layers[1] is not old.layers[1]
    assert (old.compiled, wide.compiled) == (True, False)


def test_other_models_and_adding_no_class_are_refused():
    with pytest.raises(TlkitError, match="add at least 1"):
        add_classes(perceptron(3), 0)
    with pytest.raises(TlkitError, match="expected a Dense layer that gives class probabilities"):
        add_classes(perceptron(3, activation="sigmoid"), 1)


# distillation


def test_distillation_is_the_divergence_of_softened_probabilities():
    rng = np.random.default_rng(0)
    teacher, student = (rng.dirichlet(np.ones(4), 50).astype("float32") for _ in range(2))
    for temperature in (1.0, 2.0, 5.0):
        p, q = soft(teacher.astype("float64"), temperature), soft(student.astype("float64"), temperature)
        expected = temperature**2 * np.mean(np.sum(p * np.log(p / q), axis=1))
        assert float(distillation(teacher, student, temperature)) == pytest.approx(expected, rel=1e-4)


def test_distillation_is_zero_for_proportional_predictions():
    p = np.random.default_rng(0).dirichlet(np.ones(4), 50).astype("float32")
    assert float(distillation(p, p)) == pytest.approx(0, abs=1e-6)
    assert float(distillation(p, 0.01 * p)) == pytest.approx(0, abs=1e-6)
    assert float(distillation(p, p[:, [1, 0, 2, 3]])) > 0.1


def test_distillation_of_certain_predictions_is_finite():
    sure = np.eye(3, dtype="float32")
    assert float(distillation(sure, sure)) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(float(distillation(sure, sure[::-1])))
    with pytest.raises(TlkitError, match="above 0"):
        distillation(sure, sure, temperature=0)


# learning without forgetting


def test_the_distillation_term_of_an_unchanged_model_is_zero(digits):
    old = build_classifier("LeNet", 5, weights=None)
    learner = LearningWithoutForgetting(add_classes(old, 5), old, strength=1000.0)
    learner.compile(**LOSS)
    new = digits.test.subset(digits.test.labels >= 5)
    results = learner.evaluate(new.images, new.labels, return_dict=True, verbose=0)
    assert results["distillation_loss"] == pytest.approx(0, abs=1e-6)
    learner.classifier.get_layer("LeNet").set_weights(
        build_classifier("LeNet", 5, weights=None).get_layer("LeNet").get_weights()
    )
    changed = learner.evaluate(new.images, new.labels, return_dict=True, verbose=0)
    assert changed["distillation_loss"] > 1e-3


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.parametrize("separate", [True, False])
def test_the_loss_follows_its_definition(rings, separate, activation):
    x, y = (each[rings[1] >= 3] for each in rings)
    teacher, classifier = (perceptron(n, seed=n, activation=activation) for n in (3, 6))
    learner = LearningWithoutForgetting(classifier, teacher, strength=3.0, temperature=2.0, separate=separate)
    learner.compile(**LOSS)
    found = learner.evaluate(x, y, batch_size=120, return_dict=True, verbose=0)
    p, q = predict(teacher, x).astype("float64"), predict(classifier, x).astype("float64")
    if activation is None:
        p, q = softmax(p), softmax(q)
    competing = q[:, 3:] / q[:, 3:].sum(axis=1, keepdims=True) if separate else q
    own = competing[np.arange(120), y - 3 if separate else y]
    kept = 4 * np.mean(np.sum(soft(p) * np.log(soft(p) / soft(q[:, :3])), axis=1))
    assert found["distillation_loss"] == pytest.approx(kept, rel=1e-4)
    assert found["loss"] == pytest.approx(np.mean(-np.log(own)) + 3 * kept, rel=1e-4)


def test_with_separate_outputs_new_labels_do_not_change_the_old_biases(rings):
    """With one softmax over all classes, labels of new classes would lower the old biases."""
    x, y = (each[rings[1] >= 3] for each in rings)
    moved = {}
    for separate in (True, False):
        classifier = perceptron(6)
        before = classifier.get_weights()[-1][:3]
        learner = LearningWithoutForgetting(classifier, perceptron(3), strength=0.0, separate=separate)
        learner.compile(keras.optimizers.SGD(0.1), **LOSS)
        learner.fit(x, y, epochs=3, verbose=0)
        moved[separate] = classifier.get_weights()[-1][:3] - before
    np.testing.assert_allclose(moved[True], 0, atol=1e-6)
    assert (moved[False] < -0.01).all()


@full
def test_in_task_incremental_learning_it_forgets_less_than_plain_fine_tuning(rings, teacher):
    x, y = rings
    new, old = y >= 3, y < 3
    before = accuracy(teacher, x[old], y[old])
    plain, _ = learn(teacher, x[new], y[new])
    kept, history = learn(teacher, x[new], y[new], strength=1.0)
    among = slice(0, 3)
    lost, less = (forgetting([before, accuracy(each, x[old], y[old], among)]) for each in (plain, kept))
    assert lost > less + 0.5
    assert accuracy(kept, x[new], y[new], slice(3, 6)) > 0.9
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]


def test_the_teacher_never_changes_even_if_the_classifier_shares_its_layers(rings, teacher):
    x, y = (each[rings[1] >= 3] for each in rings)
    hidden = teacher.layers[0]
    wide = keras.layers.Dense(6, activation="softmax")
    sharing = keras.Sequential([keras.Input((2,)), hidden, wide])
    before = teacher.get_weights()
    learner = LearningWithoutForgetting(sharing, teacher)
    learner.compile(keras.optimizers.Adam(0.02), **LOSS)
    learner.fit(x, y, epochs=2, verbose=0)
    for weights, kept in zip(learner.teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)
    assert not np.array_equal(hidden.get_weights()[0], before[0])
    hidden.set_weights(before[:2])


def test_the_teacher_runs_in_inference_mode(rings):
    """Its dropout is off, and its running means do not change."""
    x, y = (each[rings[1] >= 3] for each in rings)
    layers = keras.layers
    teacher = keras.Sequential(
        [
            keras.Input((2,)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )
    learner = LearningWithoutForgetting(add_classes(teacher, 3), teacher)
    learner.compile(keras.optimizers.SGD(0.0), **LOSS)
    learner.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(learner.teacher.layers[0].get_weights()[2], np.zeros(2))
    assert np.abs(learner.classifier.layers[0].get_weights()[2]).max() > 0


def test_the_losses_are_the_same_on_every_backend(rings):
    x, y = (each[rings[1] >= 3] for each in rings)
    teacher, classifier = perceptron(3, seed=5), perceptron(6, seed=6)
    learner = LearningWithoutForgetting(classifier, teacher)
    learner.compile(keras.optimizers.SGD(0.2), **LOSS)
    history = learner.fit(x, y, batch_size=30, epochs=3, shuffle=False, verbose=0).history
    assert history["distillation_loss"] == pytest.approx([1.354052, 0.0730855, 0.0286848], rel=1e-4)
    assert history["loss"] == pytest.approx([1.777215, 0.130516, 0.0604503], rel=1e-4)


def test_the_classifier_is_a_plain_model_that_saves(rings, teacher, tmp_path):
    x, y = rings
    classifier, _ = learn(teacher, x[y >= 3], y[y >= 3], epochs=1, strength=1.0)
    classifier.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(predict(again, x), predict(classifier, x), atol=1e-6)
    assert "tlkit" not in str(again.get_config())


def test_reinitialize_resets_the_classifier_but_not_the_teacher(rings, teacher):
    x, y = (each[rings[1] >= 3] for each in rings)
    learner = LearningWithoutForgetting(add_classes(teacher, 3), teacher)
    learner.compile(keras.optimizers.Adam(0.02), **LOSS)
    start = learner.classifier.get_weights()
    reinitialize(learner)
    assert not np.array_equal(learner.classifier.get_weights()[0], start[0])
    np.testing.assert_array_equal(learner.teacher.get_weights()[0], teacher.get_weights()[0])
    ends = []
    for _ in range(2):
        reinitialize(learner)
        learner.classifier.set_weights(start)
        learner.fit(x, y, epochs=2, shuffle=False, verbose=0)
        ends.append(learner.classifier.get_weights()[0])
    np.testing.assert_array_equal(*ends)


def test_models_and_labels_that_do_not_fit_are_refused(rings, teacher):
    x, y = rings
    with pytest.raises(TlkitError, match="teacher has 3 classes and the classifier 3, so no class is new"):
        LearningWithoutForgetting(perceptron(3), teacher)
    with pytest.raises(TlkitError, match="takes inputs"):
        LearningWithoutForgetting(build_classifier("LeNet", 6, weights=None), teacher)
    learner = LearningWithoutForgetting(add_classes(teacher, 2), teacher)
    learner.compile(**LOSS)
    with pytest.raises(TlkitError, match="has the output activation 'linear', but the teacher another"):
        LearningWithoutForgetting(perceptron(6, activation=None), teacher)
    with pytest.raises(DataError, match="from 3 to 5, and the model has 5 outputs; expected 0 to 4"):
        learner.fit(x[y >= 3], y[y >= 3])
    with pytest.raises(DataError, match=r"from 0 to 2 .* separate=False"):
        learner.fit(x[y < 3], y[y < 3])
    learner = LearningWithoutForgetting(add_classes(teacher, 3), teacher, separate=False)
    learner.compile(**LOSS)
    learner.fit(x, y, verbose=0)


# plain Keras in, plain Keras out


Batches = partial(plain_keras.Batches, size=30)


@pytest.fixture(scope="module")
def new(rings):
    """Examples of the three new classes."""
    return tuple(each[rings[1] >= 3] for each in rings)


@pytest.fixture
def learner_of():
    """Build a learner with three old and three new classes, which outputs probabilities or logits."""

    def build(activation="softmax", *, learning_rate=0.2, **options):
        teacher, classifier = (perceptron(n, seed=n, activation=activation) for n in (3, 6))
        learner = LearningWithoutForgetting(classifier, teacher, **options)
        learner.compile(keras.optimizers.SGD(learning_rate), **LOSS, metrics=["accuracy"])
        return learner

    return build


@pytest.mark.parametrize(
    "options",
    [{"save_freq": 2}, pytest.param({"monitor": "val_accuracy", "save_best_only": True}, marks=full)],
)
@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_checkpoint_is_the_plain_classifier(activation, options, new, learner_of, tmp_path):
    learner = learner_of(activation)
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", **options)
    learner.fit(*new, batch_size=30, validation_data=new, callbacks=checkpoint, verbose=0)
    found = predicted_without_tlkit(tmp_path / "best.keras", new[0], trains=True)
    np.testing.assert_allclose(found, predict(learner.classifier, new[0]), atol=1e-5)
    assert not learner.classifier.compiled


def test_callbacks_of_keras_work(new, learner_of, tmp_path):
    learner, callbacks = learner_of(), keras.callbacks
    learner.compile(keras.optimizers.Adam(1e-3), **LOSS, metrics=["accuracy"])
    several = [
        callbacks.BackupAndRestore(tmp_path / "backup"),
        callbacks.ModelCheckpoint(tmp_path / "best.weights.h5", save_weights_only=True),
        callbacks.TensorBoard(tmp_path / "board", histogram_freq=1),
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.ReduceLROnPlateau("val_accuracy"),
        callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        callbacks.EarlyStopping("val_accuracy", restore_best_weights=True, patience=5),
        callbacks.TerminateOnNaN(),
    ]
    for each in (None, several[0], tuple(several), callbacks.CallbackList(several[1:], model=learner)):
        history = learner.fit(*new, validation_data=new, epochs=2, callbacks=each, verbose=0).history
        assert len(history["loss"]) == 2
    assert history["learning_rate"][1] == pytest.approx(history["learning_rate"][0] / 2)
    perceptron(6).load_weights(tmp_path / "best.weights.h5")
    assert (tmp_path / "log.csv").read_text().startswith("epoch,")


def test_the_compile_state_of_the_classifier_is_kept(new, learner_of, tmp_path):
    learner = learner_of()
    optimizer = keras.optimizers.SGD(0.01)
    learner.classifier.compile(optimizer, **LOSS)
    learner.fit(*new, callbacks=keras.callbacks.ModelCheckpoint(tmp_path / "best.keras"), verbose=0)
    assert learner.classifier.optimizer is optimizer
    assert int(optimizer.iterations) == 0
    learner.classifier.fit(*new, verbose=0)
    assert int(optimizer.iterations) == 4


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("kind", mostly_full(["tf.data", "PyDataset", "weights"], "tf.data"))
def test_batches_and_arrays_give_the_same_result(kind, new, learner_of):
    weights = np.ones(120, "float32")
    data = {
        "tf.data": lambda: tf_data(*new).batch(30),
        "PyDataset": lambda: Batches(*new),
        "weights": lambda: (*new, weights),
    }[kind]()
    fit = {"epochs": 2, "batch_size": 30, "shuffle": False, "verbose": 0}
    expected = learner_of().fit(*new, validation_data=new, **fit).history
    learner = learner_of()
    found = learner.fit(data, validation_data=data, **fit).history
    assert {name: values[-1] for name, values in found.items()} == pytest.approx(
        {name: values[-1] for name, values in expected.items()}, rel=1e-4
    )
    measured = learner.evaluate(data, batch_size=30, return_dict=True, verbose=0)
    assert measured["loss"] == pytest.approx(found["val_loss"][-1], rel=1e-4)


def test_the_images_of_a_split_may_be_in_memory_or_in_files(digits, tmp_path):
    new = digits.train.subset(digits.train.labels >= 5).subset(slice(24))
    names = [tmp_path / f"{i}.png" for i in range(24)]
    for name, image in zip(names, new.images, strict=True):
        Image.fromarray(image).save(name)
    measured = []
    for images in (new.images, ImageFiles(names, 28)):
        keras.utils.set_random_seed(0)
        old = build_classifier("LeNet", 5, weights=None)
        learner, split = LearningWithoutForgetting(add_classes(old, 5), old), Split(images, new.labels)
        learner.fit(split, validation_data=split, batch_size=8, verbose=0)
        assert int(learner.optimizer.iterations) == 3
        measured.append((learner, split))
    learner, of_files = measured[1]
    assert learner.evaluate(of_files, verbose=0) == pytest.approx(
        learner.evaluate(new.images, new.labels, verbose=0), rel=1e-4
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: tf_data(x, y).batch(30).repeat(), "repeats for ever"),
        (lambda x, y: tf_data(x, y), "without a batch axis"),
        (lambda x, y: Batches(x), "has no labels"),
        (lambda x, y: Batches(x[:, :1], y), r"shape \(1,\), and 'head' takes \(2,\)"),
        (lambda x, y: Batches(x, y[::-1] + 1), "go from 6 to 6, and the model has 6 outputs"),
        (lambda x, y: Batches(x, np.eye(7)[y]), "one-hot labels of 7 classes"),
        (
            lambda x, y: (x, np.eye(6)[y]),
            r"shape \(120, 6\), which does not fit SparseCategoricalCrossentropy",
        ),
        (lambda x, y: (x, y[1:]), "120 images and 119 labels"),
        (lambda x, y: x, "expected a Split"),
    ],
)
def test_unsuitable_data_raise_a_clear_error(change, message, new, learner_of):
    data = change(*new)
    for learn in (
        lambda learner: learner.fit(data, verbose=0),
        lambda learner: learner.fit(*new, validation_data=data, verbose=0),
        lambda learner: learner.evaluate(data, verbose=0),
    ):
        with pytest.raises(DataError, match=message):
            learn(learner_of())


@pytest.mark.parametrize("activation", mostly_full(["softmax", None], None))
def test_the_default_loss_fits_the_labels(activation, new, learner_of):
    x, y = new
    fit = {"epochs": 3, "shuffle": False, "verbose": 0}
    expected = learner_of(activation).fit(x, y, **fit).history["loss"]
    for labels in (y, np.eye(6)[y]):
        for optimizer in ((keras.optimizers.SGD(0.2),), None):
            learner = learner_of(activation)
            learner = LearningWithoutForgetting(learner.classifier, learner.teacher)
            if optimizer:
                learner.compile(*optimizer)
            losses = learner.fit(x, labels, **fit).history["loss"]
            assert isinstance(learner.optimizer, keras.optimizers.SGD if optimizer else keras.optimizers.Adam)
            assert losses == pytest.approx(expected, rel=1e-4) if optimizer else losses[-1] < losses[0]


def test_label_smoothing_changes_the_loss_of_logits_only_slightly(new, learner_of):
    x, y = new
    found = []
    for smoothing in (0.0, 0.1):
        learner = learner_of(None)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        learner.compile("sgd", loss)
        found.append(learner.evaluate(x, np.eye(6)[y], verbose=0, return_dict=True)["loss"])
    assert abs(found[1] - found[0]) < 10
    with pytest.raises(DataError, match=r"to_categorical\(labels, 6\)"):
        learner.fit(x, y)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("activation", mostly_full(["softmax", None], None))
def test_a_saved_learner_resumes_training(activation, new, learner_of, tmp_path):
    learner = learner_of(activation, strength=2.0, temperature=3.0, separate=False)
    learner.fit(*new, batch_size=30, verbose=0)
    learner.save(tmp_path / "learner.keras")
    again = keras.saving.load_model(tmp_path / "learner.keras")
    assert (again.strength, again.temperature, again.separate) == (2.0, 3.0, False)
    np.testing.assert_allclose(
        again.predict(new[0], verbose=0), learner.predict(new[0], verbose=0), atol=1e-5
    )
    np.testing.assert_array_equal(again.teacher.get_weights()[0], learner.teacher.get_weights()[0])
    ends = [
        each.fit(*new, batch_size=30, shuffle=False, epochs=2, verbose=0).history for each in (learner, again)
    ]
    assert ends[0]["loss"] == pytest.approx(ends[1]["loss"], rel=1e-4)
    assert int(again.optimizer.iterations) == 12
    assert not any(weight.trainable for weight in again.teacher.weights)


# rehearsal


@pytest.fixture
def whole():
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), dtype="uint8")
    labels = np.arange(40) % 4
    return Split(images, labels, [f"{i}.png" for i in range(40)], {"group": labels.astype(str)})


def test_rehearsal_balances_the_classes_and_keeps_each_example(whole):
    new, memory = whole.subset(whole.labels >= 2), whole.subset(whole.labels < 2).few(3)
    both = rehearse(new, memory)
    assert np.bincount(both.labels).tolist() == [10, 10, 10, 10]
    assert set(both.names) == {*new.names, *memory.names}
    for image, label, name, group in zip(
        both.images, both.labels, both.names, both.attributes["group"], strict=True
    ):
        index = whole.names.tolist().index(name)
        np.testing.assert_array_equal(image, whole.images[index])
        assert label == whole.labels[index] == int(group)


def test_rehearsal_repeats_new_examples_if_there_are_more_old_ones(whole):
    both = rehearse(whole.subset(whole.labels >= 2).few(1), whole.subset(whole.labels < 2))
    assert np.bincount(both.labels).tolist() == [10, 10, 10, 10]


def test_rehearsal_shuffles_old_and_new_examples_by_the_seed(whole):
    new, memory = whole.subset(whole.labels >= 2), whole.subset(whole.labels < 2).few(3)
    one, same, other = (rehearse(new, memory, seed=seed).names.tolist() for seed in (1, 1, 2))
    assert one == same != other
    assert len(set((rehearse(new, memory).labels[:12] < 2).tolist())) == 2


def test_rehearsal_refuses_ambiguous_labels(whole):
    old = whole.subset(whole.labels < 2)
    renumbered = Split(old.images, old.labels)
    with pytest.raises(DataError, match=r"classes \[0, 1\] are in both splits"):
        rehearse(renumbered, old)
    small = Split(np.zeros((2, 8, 8, 3), "uint8"), [2, 3])
    with pytest.raises(DataError, match="all of the same size"):
        rehearse(small, old)
    with pytest.raises(DataError, match="at least one of each"):
        rehearse(whole.subset(whole.labels >= 2), old.subset([]))


def test_forgetting_is_the_loss_from_the_best_earlier_accuracy():
    assert forgetting([0.9, 0.5]) == pytest.approx(0.4)
    assert forgetting([0.7, 0.9, 0.6]) == pytest.approx(0.3)
    assert forgetting([0.5, 0.6]) == pytest.approx(-0.1)
    with pytest.raises(TlkitError, match="before and after"):
        forgetting([0.9])
