"""`MultiTask` accepts the data and callbacks of Keras, and its network remains a plain Keras model."""

import keras
import numpy as np
import pytest
from keras import ops
from plain_keras import Batches, check_its_settings_make_an_equal_one, predicted_without_tlkit, tf_data
from pushes import full, mostly_full

from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.models import attach_head
from tlkit.techniques.multi_task import (
    BALANCINGS,
    Classification,
    DynamicWeightAverage,
    FixedWeights,
    MultiLabel,
    MultiTask,
    PCGrad,
    Regression,
)

callbacks = keras.callbacks
FIT = {"batch_size": 32, "verbose": 0}


@pytest.fixture
def user_network():
    """Build a network with custom heads that outputs probabilities or logits, with the same weights."""

    def build(logits):
        images = keras.Input((1, 1, 8))
        x = keras.layers.Dense(16, activation="tanh")(keras.layers.Flatten()(images))
        activations = {"kind": None, "marks": None} if logits else {"kind": "softmax", "marks": "sigmoid"}
        outputs = {
            "size": keras.layers.Dense(1)(x),
            "kind": keras.layers.Dense(3, activation=activations["kind"])(x),
            "marks": keras.layers.Dense(2, activation=activations["marks"])(x),
        }
        network = keras.Model(images, outputs)
        rng = np.random.default_rng(0)
        network.set_weights([rng.normal(0, 0.3, weight.shape) for weight in network.get_weights()])
        return network

    return build


# callbacks


@full  # tests/contract checks such a checkpoint on every push
@pytest.mark.parametrize("options", [{}, {"save_freq": 2}])
def test_a_checkpoint_is_the_plain_network(options, tasks, examples, learner_of, tmp_path):
    x, labels = examples
    learner = learner_of(tasks, PCGrad())
    path = tmp_path / "network.keras"
    learner.fit(x, labels, callbacks=callbacks.ModelCheckpoint(path, **options), batch_size=24, verbose=0)
    found, expected = predicted_without_tlkit(path, x), learner.network.predict(x, verbose=0)
    assert set(found) == set(tasks)
    for name in tasks:
        assert found[name] == pytest.approx(expected[name], abs=1e-5)


def test_a_checkpoint_of_the_weights_fits_the_network(tasks, examples, learner_of, tmp_path):
    x, labels = examples
    learner = learner_of(tasks)
    path = tmp_path / "best.weights.h5"
    checkpoint = callbacks.ModelCheckpoint(path, save_weights_only=True, save_best_only=True)
    learner.fit(x, labels, validation_data=(x, labels), callbacks=[checkpoint], **FIT)
    network = learner_of(tasks, seed=1).network
    network.load_weights(path)
    for one, other in zip(network.get_weights(), learner.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@full
def test_callbacks_of_keras_work(tasks, examples, learner_of, tmp_path):
    x, labels = examples
    learner = learner_of(tasks, PCGrad())
    several = [
        callbacks.BackupAndRestore(tmp_path / "backup"),
        callbacks.TensorBoard(tmp_path / "board", histogram_freq=1),
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.ReduceLROnPlateau("kind_loss", mode="min"),
        callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        callbacks.EarlyStopping("val_size_error", mode="min", restore_best_weights=True),
        callbacks.TerminateOnNaN(),
    ]
    learner.compile(keras.optimizers.Adam(1e-3))
    for each in (None, several[0], tuple(several), callbacks.CallbackList(several[1:], model=learner)):
        history = learner.fit(x, labels, validation_data=(x, labels), epochs=2, callbacks=each, **FIT).history
        assert len(history["loss"]) == 2
    assert history["learning_rate"][1] == pytest.approx(history["learning_rate"][0] / 2)
    assert (tmp_path / "log.csv").read_text().startswith("epoch,")
    assert list((tmp_path / "board").rglob("*tfevents*"))


def test_training_ends_at_the_first_step_with_a_nan(tasks, examples, learner_of):
    x, labels = examples
    learner = learner_of(tasks, optimizer=keras.optimizers.SGD(1e30))
    steps = []
    count = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    with pytest.raises(TlkitError, match=r"became (inf|nan) in epoch 1"):
        learner.fit(x, labels, batch_size=4, callbacks=[callbacks.TerminateOnNaN(), count], verbose=0)
    assert len(steps) < 24


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            raise InterruptedError


@pytest.mark.parametrize("name", mostly_full(["dwa", "gradnorm", "uncertainty"], "gradnorm"))
def test_a_resumed_training_ends_with_the_same_weights(name, tasks, examples, learner_of, tmp_path):
    x, labels = examples
    fit = {"epochs": 6, "shuffle": False, **FIT}
    whole = learner_of(tasks, BALANCINGS.find(name).build())
    whole.fit(x, labels, **fit)
    backup = callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(InterruptedError):
        learner_of(tasks, BALANCINGS.find(name).build()).fit(x, labels, callbacks=[backup, Stop()], **fit)
    resumed = learner_of(tasks, BALANCINGS.find(name).build(), seed=1)
    assert resumed.fit(x, labels, callbacks=backup, **fit).epoch == [3, 4, 5]
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


# data


@pytest.mark.parametrize("kind", mostly_full(["tf.data", "PyDataset"], "tf.data"))
def test_batches_and_arrays_give_the_same_result(kind, tasks, examples, learner_of):
    x, labels = examples
    labels = labels | {"size": labels["size"][:, 0]}  # of shape (n,)
    data = tf_data(x, labels).batch(32) if kind == "tf.data" else Batches(x, labels)
    learners = learner_of(tasks), learner_of(tasks)
    by_arrays = learners[0].fit(x, labels, validation_data=(x, labels), shuffle=False, epochs=2, **FIT)
    by_batches = learners[1].fit(data, validation_data=data, shuffle=False, epochs=2, **FIT)
    assert set(by_batches.history) == set(by_arrays.history)
    for name, values in by_arrays.history.items():
        assert by_batches.history[name] == pytest.approx(values, rel=1e-4), name
    found = [learners[0].evaluate(x, labels, return_dict=True, **FIT)]
    found.append(learners[1].evaluate(data, return_dict=True, **FIT))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_sample_weights_may_be_part_of_batches_and_of_validation_data(tasks, examples, learner_of):
    x, labels = examples
    weights = (np.arange(96) < 48).astype("float32")
    half = x[:48], {name: values[:48] for name, values in labels.items()}
    learner = learner_of(tasks, optimizer=keras.optimizers.SGD(0.0))
    options = {"validation_data": (x, labels, weights), "batch_size": 96, "verbose": 0}
    weighted = learner.fit(Batches(x, labels, weights, size=96), **options).history
    alone = learner.fit(*half, validation_data=half, batch_size=96, verbose=0).history
    for name in ("kind_loss", "size_error", "val_kind_loss", "val_size_error"):
        assert weighted[name] == pytest.approx(alone[name], rel=1e-4)


@pytest.mark.filterwarnings("error::UserWarning")
def test_shuffled_batches_raise_no_warning(tasks, examples, learner_of):
    x, labels = examples
    learner_of(tasks).fit(tf_data(x, labels).shuffle(96).batch(32), batch_size=32, verbose=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: tf_data(x, y).batch(32).repeat(), "repeats for ever"),
        (lambda x, y: tf_data(x, y), "expected batches of numbers: data.batch"),
        (lambda x, y: Batches(x), "yields no batches with labels"),
        (
            lambda x, y: Batches(x, y["kind"]),
            "expected labels by task: {'kind': ..., 'marks'",
        ),
        (lambda x, y: Batches(x, {"kind": y["kind"]}), "no labels for task 'marks'"),
        (lambda x, y: Batches(x[:, :, 0], y), r"shape \(1, 8\), but .* takes \(1, 1, 8\)"),
        (lambda x, y: Batches(x, y | {"kind": y["kind"] + 1}), "Task 'kind': Labels with the value 3"),
        (lambda x, y: Batches(x, y | {"kind": np.eye(3)[y["kind"]]}), r"Task 'kind': .* shape \(32, 3\)"),
        (lambda x, y: Batches(x, y | {"kind": np.full(96, "cat")}), r"task.encode\(values\) for texts"),
        (lambda x, y: x, "x has no labels|validation_data has no labels"),
    ],
)
def test_unsuitable_data_raise_a_clear_error(change, message, tasks, examples, learner_of):
    data = change(*examples)
    for learn in (
        lambda learner: learner.fit(data, verbose=0),
        lambda learner: learner.fit(*examples, validation_data=data, verbose=0),
        lambda learner: learner.evaluate(data, verbose=0),
    ):
        with pytest.raises(DataError, match=message):
            learn(learner_of(tasks))


def test_unsuitable_arrays_raise_a_clear_error(tasks, examples, learner_of):
    x, labels = examples
    with pytest.raises(DataError, match=r"inputs of x have shape \(2, 1, 8\)"):
        learner_of(tasks).fit(np.repeat(x, 2, axis=1), labels)
    with pytest.raises(DataError, match="Labels of type ndarray were given; expected labels by task"):
        learner_of(tasks).fit(x, labels["kind"])


# custom heads


@pytest.mark.parametrize("rule", mostly_full([None, "pcgrad", "gradnorm"], "gradnorm"))
def test_logits_and_probabilities_give_the_same_result(rule, tasks, examples, user_network):
    x, labels = examples
    found = []
    for logits in (False, True):
        network = user_network(logits)
        learner = MultiTask(network, tasks, rule)
        learner.compile(keras.optimizers.SGD(0.05))
        learner.fit(x, labels, epochs=2, shuffle=False, **FIT)
        found.append((network, learner.evaluate(x, labels, return_dict=True, **FIT), learner))
    (plain, expected, _), (with_logits, measured, learner) = found
    assert measured == pytest.approx(expected, rel=1e-3)
    for one, other in zip(plain.get_weights(), with_logits.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    predictions, expected = with_logits.predict(x, verbose=0), plain.predict(x, verbose=0)
    assert predictions["kind"].min() < 0
    assert np.array(ops.softmax(predictions["kind"])) == pytest.approx(expected["kind"], abs=1e-4)
    assert np.array(ops.sigmoid(predictions["marks"])) == pytest.approx(expected["marks"], abs=1e-4)
    assert learner.predict(x, verbose=0)["kind"] == pytest.approx(expected["kind"], abs=1e-4)


def test_each_output_of_a_head_has_its_own_activation(tasks):
    images, features = keras.Input((8, 8, 3)), keras.Input((4,))
    dense = keras.layers.Dense
    outputs = {"kind": dense(3, activation="softmax")(features), "marks": dense(2)(features)}
    outputs |= {"size": dense(1)(features)}
    body = keras.Model(images, dense(4)(keras.layers.GlobalAveragePooling2D()(images)))
    learner = MultiTask(attach_head(body, keras.Model(features, outputs)), tasks)
    assert learner.logit_tasks == ["marks", "size"]
    called = keras.Model(features, outputs)(features)
    outputs = called | {"marks": keras.layers.Activation("sigmoid")(called["marks"])}
    assert MultiTask(keras.Model(features, outputs), tasks).logit_tasks == ["size"]


def test_a_layer_before_two_outputs_is_shared(examples):
    x, labels = examples
    images = keras.Input((1, 1, 8))
    both = keras.layers.Dense(2)(keras.layers.Flatten()(images))
    network = keras.Model(images, {"one": both[:, :1], "other": both[:, 1:]})
    learner = MultiTask(network, {"one": Regression(), "other": Regression()}, "pcgrad")
    size = labels["size"] - 10
    history = learner.fit(x, {"one": size, "other": -size}, verbose=0).history
    assert np.isfinite(history["cosine_one_other"]).all()


def test_outputs_that_do_not_fit_the_tasks_are_refused(tasks, user_network):
    network = user_network(logits=True)
    with pytest.raises(TlkitError, match=r"task 'kind' has shape \(None, 3\); expected \(None, 4\)"):
        MultiTask(network, tasks | {"kind": Classification(4)})
    as_list = keras.Model(network.input, list(network.output.values()))
    with pytest.raises(TlkitError, match=r"keras.Model\(inputs, {task: output}\)"):
        MultiTask(as_list, tasks)


# names, settings, files


def test_a_rule_is_found_by_its_name(tasks, learner_of):
    assert isinstance(learner_of(tasks, "PCGrad").balancing, PCGrad)
    with pytest.raises(UnknownNameError, match="Did you mean 'pcgrad'"):
        learner_of(tasks, "pcgrd")
    for balancing, message in ((PCGrad, "the class PCGrad"), (3, "balancing=3")):
        with pytest.raises(TlkitError, match=rf"{message} was given; expected an instance, such as .*\(\)"):
            learner_of(tasks, balancing)


def test_it_is_compiled_by_default(tasks, examples, user_network):
    x, labels = examples
    learner = MultiTask(user_network(logits=True), tasks)
    assert "kind_loss" in learner.evaluate(x, labels, return_dict=True, verbose=0)
    learner.fit(x, labels, verbose=0)
    assert isinstance(learner.optimizer, keras.optimizers.Adam)


def test_the_compile_state_of_the_network_is_kept(tasks, examples, user_network, tmp_path):
    x, labels = examples
    network = user_network(logits=False)
    optimizer, losses = keras.optimizers.SGD(0.01), {"kind": "sparse_categorical_crossentropy"}
    network.compile(optimizer, losses | {"marks": "binary_crossentropy", "size": "mse"})
    learner = MultiTask(network, tasks)
    learner.fit(x, labels, callbacks=callbacks.ModelCheckpoint(tmp_path / "network.keras"), **FIT)
    assert network.optimizer is optimizer
    assert int(optimizer.iterations) == 0
    network.fit(x, labels, **FIT)
    assert int(optimizer.iterations) == 3


@pytest.mark.parametrize(
    "made",
    [
        *(row.build() for row in BALANCINGS),
        FixedWeights({"kind": 2.0}),
        DynamicWeightAverage(temperature=3.0),
        PCGrad(seed=5),
        Classification(["cat", "dog"]),
        MultiLabel(3),
        Regression(2, mean=1.0, deviation=0.5),
    ],
    ids=lambda each: type(each).__name__,
)
def test_its_config_makes_an_equal_object(made):
    check_its_settings_make_an_equal_one(made)


@full
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", BALANCINGS.names)
def test_a_saved_learner_resumes_training(name, tasks, examples, learner_of, tmp_path):
    x, labels = examples
    learner = learner_of(tasks, name, optimizer=keras.optimizers.Adam(0.01), watch_gradients=True)
    learner.fit(x, labels, epochs=3, **FIT)
    learner.save(tmp_path / "learner.keras")
    again = keras.saving.load_model(tmp_path / "learner.keras")
    assert again.per_task_gradients
    assert list(again.tasks) == list(tasks)
    expected, found = (each.predict(x, verbose=0) for each in (learner, again))
    for task in tasks:
        assert found[task] == pytest.approx(expected[task], abs=1e-5)
    for one, other in zip(learner.balancing.weights, again.balancing.weights, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))
    again.fit(x, labels, **FIT)
    assert int(again.optimizer.iterations) == 12
