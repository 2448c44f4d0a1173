"""A network with several heads is trained on partly missing labels, with equal results on each backend."""

import keras
import numpy as np
import pytest
from pushes import full, graph, mostly_full

from tlkit.data import Split
from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.models import reinitialize
from tlkit.techniques.multi_task import (
    BALANCINGS,
    CAGrad,
    Classification,
    EqualWeights,
    FixedWeights,
    GradNorm,
    MultiTask,
    PCGrad,
    Regression,
    UncertaintyWeights,
    build_multi_task,
)


def moved(before, after):
    return {path: not np.array_equal(value, after[path]) for path, value in before.items()}


@graph
@pytest.mark.parametrize("name", mostly_full(BALANCINGS.names, "pcgrad", "gradnorm"))
def test_each_rule_trains_all_tasks(name, tasks, examples, learner_of):
    x, labels = examples
    learner = learner_of(tasks, BALANCINGS.find(name).build(), optimizer=keras.optimizers.Adam(0.02))
    before = learner.evaluate(x, labels, verbose=0, return_dict=True)
    history = learner.fit(x, labels, epochs=40, batch_size=32, verbose=0).history
    after = learner.evaluate(x, labels, verbose=0, return_dict=True)
    assert after["kind_accuracy"] > 0.9 > before["kind_accuracy"]
    assert after["marks_accuracy"] > 0.9 > before["marks_accuracy"]
    assert after["size_error"] < 0.4 * before["size_error"]
    for task in tasks:
        assert len(history[f"{task}_loss"]) == len(history[f"{task}_weight"]) == 40


def numpy_step(x, labels, weights, *, rule):
    """Return the backbone after one step of SGD, for a linear backbone, a softmax head and a linear head."""
    body, classes, numbers = weights
    features = x @ body
    exponentials = np.exp(features @ classes)
    d_classes = (
        exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(classes.shape[1])[labels["kind"]]
    ) / len(x)
    d_numbers = 2 * (features @ numbers - labels["size"]) / len(x)
    gradients = [x.T @ (d_classes @ classes.T), x.T @ (d_numbers @ numbers.T)]
    return body - 0.1 * rule(*gradients)


def surgery(a, b):
    inner = np.sum(a * b)
    if inner >= 0:
        return a + b
    return a - inner / np.sum(b * b) * b + b - inner / np.sum(a * a) * a


RULES = {
    "equal": (EqualWeights(), lambda a, b: a + b),
    "fixed": (FixedWeights({"kind": 3.0}), lambda a, b: 3 * a + b),
    "uncertainty": (UncertaintyWeights(), lambda a, b: a + b / 2),
    "pcgrad": (PCGrad(), surgery),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("watch", [False, True])
def test_a_step_is_the_one_computed_by_hand(name, watch):
    """The numbers, and therefore the results, are the same on every backend."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(16, 4)).astype("float32")
    labels = {"kind": rng.integers(0, 3, 16), "size": rng.normal(size=(16, 1)).astype("float32")}
    start = [rng.normal(0, 0.4, shape).astype("float32") for shape in ((4, 5), (5, 3), (5, 1))]
    images = keras.Input((1, 1, 4))
    body = keras.Model(images, keras.layers.Dense(5, use_bias=False)(keras.layers.Flatten()(images)))
    tasks = {"kind": Classification(3), "size": Regression()}
    network = build_multi_task(body, tasks, dropout=0.0)
    kernels = [variable for variable in network.trainable_variables if len(variable.shape) == 2]
    for variable, value in zip(kernels, start, strict=True):
        variable.assign(value)
    rule, by_hand = RULES[name]
    learner = MultiTask(
        network,
        tasks,
        type(rule)(**({"by_task": rule.by_task} if name == "fixed" else {})),
        watch_gradients=watch,
    )
    learner.compile(keras.optimizers.SGD(0.1))
    history = learner.fit(x[:, None, None], labels, batch_size=16, verbose=0).history
    expected = numpy_step(x, labels, start, rule=by_hand)
    np.testing.assert_allclose(np.array(kernels[0]), expected, rtol=1e-4, atol=1e-5)
    assert ("cosine_kind_size" in history) == (watch or name == "pcgrad")


def test_gradient_surgery_does_not_change_the_gradients_of_the_heads(tasks, examples, learner_of):
    x, labels = examples
    start = learner_of(tasks)
    ends = []
    for rule in (EqualWeights(), PCGrad(), CAGrad()):
        learner = learner_of(tasks, rule)
        learner.fit(x, labels, batch_size=96, verbose=0)
        ends.append({v.path: np.array(v) for v in learner.network.get_layer("head").variables})
    for path, value in ends[0].items():
        assert ends[1][path] == pytest.approx(value, abs=1e-6)
        assert ends[2][path] == pytest.approx(value, abs=1e-6)
    assert start.network.count_params() == learner.network.count_params()


def test_a_missing_label_has_exactly_no_gradient(tasks, examples, learner_of, weights_of):
    """The weights do not depend on the input of an example without labels, to the last bit."""
    x, labels = examples
    labels = {name: values.copy() for name, values in labels.items()}
    labels["kind"][:48] = -1
    labels["marks"][:48] = np.nan
    labels["size"][:48] = np.nan
    for rule in (EqualWeights, PCGrad):
        ends = []
        for first in (x[:48], -3 * x[:48]):
            learner = learner_of(tasks, rule())
            learner.fit(np.concatenate([first, x[48:]]), labels, batch_size=96, verbose=0)
            ends.append(weights_of(learner.network))
        assert not any(moved(*ends).values())


def test_a_batch_without_labels_of_a_task_leaves_its_head_bit_identical(
    tasks, examples, learner_of, weights_of
):
    x, labels = examples
    labels = labels | {"kind": np.where(np.arange(96) < 95, -1, labels["kind"])}
    learner = learner_of(tasks)
    before = weights_of(learner.network)
    history = learner.fit(
        x[::-1], {n: v[::-1] for n, v in labels.items()}, batch_size=48, shuffle=False, verbose=0
    )
    assert history.history["kind_accuracy"][0] in (0.0, 1.0)  # of one example
    learner = learner_of(tasks)
    learner.fit(x, labels, batch_size=48, shuffle=False, steps_per_epoch=1, verbose=0)
    changed = moved(before, weights_of(learner.network))
    assert {path for path, is_moved in changed.items() if not is_moved} == {
        path for path in changed if "kind" in path
    }


def test_an_example_with_some_labels_counts_for_these_labels(tasks, examples, learner_of):
    x, labels = examples
    marks = labels["marks"].copy()
    marks[:, 0] = np.nan
    learner = learner_of(tasks)
    whole = learner.evaluate(x, labels, verbose=0, batch_size=96, return_dict=True)
    half = learner.evaluate(x, labels | {"marks": marks}, verbose=0, batch_size=96, return_dict=True)
    other = labels["marks"].copy()
    other[:, 1] = np.nan
    rest = learner.evaluate(x, labels | {"marks": other}, verbose=0, batch_size=96, return_dict=True)
    for measure in ("marks_loss", "marks_accuracy"):
        assert (half[measure] + rest[measure]) / 2 == pytest.approx(whole[measure], rel=1e-5)
    assert half["size_loss"] == pytest.approx(whole["size_loss"])


def test_a_frozen_head_stays_bit_identical(tasks, examples, learner_of, weights_of):
    x, labels = examples
    for rule in (EqualWeights(), GradNorm(), PCGrad()):
        learner = learner_of(tasks, rule)
        learner.network.get_layer("head").get_layer("kind").trainable = False
        learner.compile(keras.optimizers.Adam(0.01))
        before = weights_of(learner.network)
        learner.fit(x, labels, epochs=2, verbose=0)
        changed = moved(before, weights_of(learner.network))
        assert {path for path, is_moved in changed.items() if not is_moved} == {
            path for path in changed if "kind" in path
        }


def test_a_sample_weight_of_zero_removes_an_example(tasks, examples, learner_of):
    x, labels = examples
    weight = (np.arange(96) >= 48).astype("float32")
    learner = learner_of(tasks)
    weighted = learner.evaluate(x, labels, sample_weight=weight, batch_size=96, verbose=0, return_dict=True)
    half = learner.evaluate(
        x[48:], {n: v[48:] for n, v in labels.items()}, batch_size=96, verbose=0, return_dict=True
    )
    assert weighted == pytest.approx(half, rel=1e-5)


def test_opposite_tasks_have_a_cosine_of_minus_one(examples, learner_of):
    x, labels = examples
    tasks = {"up": Regression(), "down": Regression()}
    learner = learner_of(tasks, watch_gradients=True)
    head = learner.network.get_layer("head")
    head.get_layer("down").set_weights([-each for each in head.get_layer("up").get_weights()])
    y = (labels["size"] - 10) / 2
    history = learner.fit(x, {"up": y, "down": -y}, batch_size=96, verbose=0).history
    assert history["cosine_up_down"] == pytest.approx([1.0], abs=1e-5)  # the same task with opposite signs
    learner = learner_of(tasks, watch_gradients=True)
    head = learner.network.get_layer("head")
    head.get_layer("down").set_weights(head.get_layer("up").get_weights())
    far = np.full_like(y, 50.0)
    history = learner.fit(x, {"up": far, "down": -far}, batch_size=96, verbose=0).history
    assert history["cosine_up_down"][0] < -0.99


def test_the_labels_of_a_split_are_its_attributes(learner_of):
    tasks = {"kind": Classification(["cat", "dog"]), "size": Regression()}
    attributes = {"kind": np.array(["cat", "dog", ""] * 4), "size": np.arange(12.0)}
    split = Split(np.zeros((12, 28, 28, 3), "uint8"), attributes=attributes)
    learner = MultiTask(build_multi_task("LeNet", tasks, weights=None), tasks)
    learner.compile("sgd")
    history = learner.fit(split, validation_data=split, verbose=0).history
    assert {"kind_accuracy", "size_error", "val_kind_accuracy", "val_size_error"} <= set(history)
    found = learner.evaluate(split, verbose=0, return_dict=True)
    assert found["kind_loss"] == pytest.approx(history["val_kind_loss"][-1], rel=1e-4)
    assert not {"val_kind_weight", "val_size_weight"} & set(history)  # weights belong to training


def test_the_network_is_saved_as_plain_keras(tasks, examples, learner_of, tmp_path):
    x, labels = examples
    learner = learner_of(tasks, UncertaintyWeights())
    learner.fit(x, labels, verbose=0)
    learner.network.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    predictions, expected = again.predict(x, verbose=0), learner.network.predict(x, verbose=0)
    assert set(predictions) == set(tasks)
    for name in tasks:
        assert predictions[name] == pytest.approx(expected[name], abs=1e-6)


def test_a_task_may_have_any_name_of_a_column(examples, learner_of):
    x, labels = examples
    tasks = {"size (cm) %": Regression(mean=10.0, deviation=2.0), "what is it?": Classification(3)}
    learner = learner_of(tasks, PCGrad())
    history = learner.fit(
        x, {"size (cm) %": labels["size"], "what is it?": labels["kind"]}, verbose=0
    ).history
    assert {"size (cm) %_error", "what is it?_accuracy"} <= set(history)
    assert learner.network.get_layer("head").get_layer("size_cm").trainable
    with pytest.raises(TlkitError, match="too similar"):
        learner_of({"a b": Regression(), "a_b": Regression()})


def test_reinitialize_draws_new_weights(tasks, examples, learner_of):
    x, labels = examples
    learner = learner_of(tasks, GradNorm())
    runs = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        reinitialize(learner)
        runs.append(learner.fit(x, labels, epochs=2, verbose=0).history["loss"])
    assert runs[0] == pytest.approx(runs[1], rel=1e-5)
    assert runs[0] != pytest.approx(runs[2], rel=1e-3)


@graph
@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=full)])
@pytest.mark.parametrize("rule", mostly_full([EqualWeights, PCGrad, GradNorm], PCGrad))
def test_it_trains_in_mixed_precision(policy, rule, tasks, examples):
    x, labels = examples
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        images = keras.Input((1, 1, 8))
        body = keras.Model(images, keras.layers.Dense(16, activation="tanh")(keras.layers.Flatten()(images)))
        learner = MultiTask(build_multi_task(body, tasks, dropout=0.0), tasks, rule())
        learner.compile(keras.optimizers.Adam(0.02))
        history = learner.fit(x, labels, epochs=20, verbose=0).history
    finally:
        keras.config.set_dtype_policy(before)
    assert history["kind_loss"][-1] < 0.7 * history["kind_loss"][0]
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("rule", mostly_full([EqualWeights, PCGrad], PCGrad))
def test_a_regulariser_of_the_backbone_has_an_effect_with_each_rule(rule, tasks, examples, learner_of):
    x, labels = examples
    sizes = []
    for strength in (0.0, 1.0):
        learner = learner_of(tasks, rule())
        kernel = learner.network.get_layer("body").trainable_variables[0]
        kernel.regularizer = keras.regularizers.L2(strength)
        learner.fit(x, labels, epochs=5, verbose=0)
        sizes.append(float(np.square(np.array(kernel)).sum()))
    assert sizes[1] < 0.5 * sizes[0]


def test_the_task_of_a_nan_is_named_and_earlier_weights_are_restored(tasks, examples, learner_of, weights_of):
    x, labels = examples
    tasks, labels = ({name: each[name] for name in ("kind", "size")} for each in (tasks, labels))
    for rule in (EqualWeights(), PCGrad()):
        learner = learner_of(tasks, rule)
        learner.fit(x, labels, verbose=0)
        before = weights_of(learner.network)
        scale = learner.network.get_layer("head").get_layer("size").get_layer("in_units")
        scale.scale = float("nan")
        learner.compile(keras.optimizers.SGD(0.1))
        with pytest.raises(TlkitError, match=r"the loss of task 'size' became nan in epoch 1"):
            learner.fit(x, labels, epochs=3, batch_size=16, verbose=0)
        assert not any(moved(before, weights_of(learner.network)).values())


def test_unsuitable_labels_raise_a_clear_error(tasks, examples, learner_of):
    x, labels = examples
    learner = learner_of(tasks)
    with pytest.raises(UnknownNameError, match="no task named 'colour'"):
        learner.fit(x, labels | {"colour": labels["kind"]}, verbose=0)
    with pytest.raises(DataError, match="no labels for task 'size'"):
        learner.fit(x, {name: labels[name] for name in ("kind", "marks")}, verbose=0)
    with pytest.raises(DataError, match="All labels of task 'size' are missing"):
        learner.fit(x, labels | {"size": np.full((96, 1), np.nan)}, verbose=0)
    with pytest.raises(DataError, match="Task 'kind': Labels with the value 7"):
        learner.fit(x, labels | {"kind": np.full(96, 7)}, verbose=0)
    with pytest.raises(DataError, match="'kind' has 95 labels for 96 inputs"):
        learner.fit(x, labels | {"kind": labels["kind"][1:]}, verbose=0)
    with pytest.raises(DataError, match="All labels of task 'kind' are missing"):
        learner.fit(x, labels, validation_data=(x, labels | {"kind": np.full(96, -1)}), verbose=0)


def test_gradients_cannot_be_balanced_without_trainable_shared_layers(tasks, examples, learner_of):
    x, labels = examples
    learner = learner_of(tasks, PCGrad())
    learner.network.get_layer("body").trainable = False
    learner.compile()
    with pytest.raises(
        TlkitError, match="PCGrad balances gradients in the shared layers, but no shared layer is trainable"
    ):
        learner.fit(x, labels, verbose=0)


def test_a_network_with_other_outputs_and_another_loss_are_refused(tasks, learner_of, lenet):
    learner = learner_of(tasks)
    with pytest.raises(TlkitError, match="'colour' is no output of the network"):
        MultiTask(learner.network, tasks | {"colour": Classification(3)})
    with pytest.raises(TlkitError, match="outputs a single tensor"):
        MultiTask(lenet, {"kind": Classification(10)})
    with pytest.raises(TlkitError, match="compile was given loss"):
        learner.compile("adam", loss="mse")
