"""Layers between backbone and heads, in plain Keras models that can be frozen like any other."""

import keras
import numpy as np
import pytest
from plain_keras import predicted_without_tlkit

from tlkit.errors import TlkitError
from tlkit.models import freeze, frozen_table, unfreeze
from tlkit.techniques.multi_task import (
    Classification,
    CrossStitch,
    HardSharing,
    MixtureOfExperts,
    MultiTask,
    Regression,
    build_multi_task,
)

SHARINGS = [HardSharing(), HardSharing(16), MixtureOfExperts(3, 8), CrossStitch(8, 2)]


def features(sharing, count=2, width=5):
    """Return a network from features to the features of each task."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((width,))
    return keras.Model(inputs, sharing(inputs, [f"task {i}" for i in range(count)]))


def run(model, *layers):
    """Return three random inputs, and the outputs of these layers."""
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    part = keras.Model(model.input, [model.get_layer(name).output for name in layers])
    return x, [np.asarray(each) for each in part.predict(x, verbose=0)]


def test_each_task_gets_features_of_the_requested_width():
    widths = [5, 16, 8, 8]
    for sharing, width in zip(SHARINGS, widths, strict=True):
        outputs = features(sharing, count=3).output
        assert list(outputs) == ["task 0", "task 1", "task 2"]
        assert {tuple(each.shape) for each in outputs.values()} == {(None, width)}


def test_hard_sharing_gives_all_tasks_the_same_features():
    outputs = features(HardSharing(16)).output
    assert outputs["task 0"] is outputs["task 1"]


def test_experts_are_mixed_by_weights_that_sum_to_one():
    model = features(MixtureOfExperts(3, 8))
    _, (gate, other, experts, mixture) = run(model, "gate_0", "gate_1", "by_expert", "mixture_0")
    assert gate.shape == (3, 3)
    np.testing.assert_allclose(gate.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(mixture, np.einsum("ne,new->nw", gate, experts), rtol=1e-4, atol=1e-6)
    assert not np.allclose(gate, other)  # each task has its own gate
    assert not np.allclose(gate[0], gate[1])  # which differs between images
    with pytest.raises(TlkitError, match="needs at least 2"):
        features(MixtureOfExperts(1))


def test_a_cross_stitch_unit_starts_with_nine_tenths_of_its_own_column():
    model = features(CrossStitch(8, 1))
    _, (before, after) = run(model, "column_0_1_relu", "column_0_1_out")
    np.testing.assert_allclose(after, 0.9 * before, rtol=1e-5)


def test_a_cross_stitch_unit_mixes_the_columns():
    model = features(CrossStitch(8, 1))
    alpha = np.array([[0.5, -1.0], [2.0, 0.25]], "float32")
    model.get_layer("stitch_1").set_weights([alpha])
    _, (a, b, first, second) = run(
        model, "column_0_1_relu", "column_1_1_relu", "column_0_1_out", "column_1_1_out"
    )
    np.testing.assert_allclose(first, alpha[0, 0] * a + alpha[1, 0] * b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(second, alpha[0, 1] * a + alpha[1, 1] * b, rtol=1e-4, atol=1e-6)


def test_the_saved_models_open_without_tlkit(tmp_path):
    tasks = {"hair colour": Classification(["red", "black"]), "age": Regression(mean=30.0, deviation=9.0)}
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3)).astype("uint8")
    for sharing in SHARINGS:
        model = build_multi_task("LeNet", tasks, weights=None, sharing=sharing)
        model.save(tmp_path / "model.keras")
        predictions = predicted_without_tlkit(tmp_path / "model.keras", images)
        expected = model.predict(images, verbose=0)
        assert set(predictions) == set(tasks)
        for name in tasks:
            np.testing.assert_allclose(predictions[name], expected[name], rtol=1e-4, atol=1e-5)


def test_a_multi_task_model_freezes_and_unfreezes_like_a_classifier(weights_of):
    tasks = {"kind": Classification(2), "size": Regression()}
    model = build_multi_task("LeNet", tasks, weights=None, sharing=HardSharing(16))
    freeze(model)
    assert frozen_table(model)["state"].tolist() == ["frozen"] * 3 + ["trainable"]
    before = weights_of(model)
    learner = MultiTask(model, tasks)
    learner.compile(keras.optimizers.SGD(0.1))
    x = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 3))
    learner.fit(x, {"kind": np.arange(8) % 2, "size": np.arange(8.0)}, verbose=0)
    for path, value in weights_of(model).items():
        in_head = path.startswith(("kind", "size", "standardised", "shared"))
        assert np.array_equal(value, before[path]) is not in_head, path
    unfreeze(model, from_stage="dense")
    assert frozen_table(model)["state"].tolist() == ["frozen", "frozen", "trainable", "trainable"]


def test_names_that_collide_are_refused():
    for names, message in (
        (["dropout", "kind"], "'dropout' cannot have this name"),
        (["a b", "a_b"], "too similar"),
    ):
        with pytest.raises(TlkitError, match=message):
            build_multi_task("LeNet", {name: Classification(2) for name in names}, weights=None)
    with pytest.raises(TlkitError, match="no task"):
        build_multi_task("LeNet", {}, weights=None)
