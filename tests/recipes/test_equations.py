"""What the recipes compute is what tlkit computes."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
from keras import ops

from tlkit.challenges.model_selection import logme
from tlkit.optimizers import scaled_learning_rates
from tlkit.recipes import (
    audit,
    coral,
    dann,
    discriminative_rates,
    learning_curve,
    multi_task,
    self_supervised,
    temperature,
)
from tlkit.recipes import logme as logme_recipe
from tlkit.techniques.domain_adaptation import correlation_alignment
from tlkit.techniques.multi_task import Classification
from tlkit.techniques.self_supervised import losses


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_coral_is_the_distance_of_the_covariances(rng):
    source = rng.normal(size=(12, 5)).astype("float32")
    target = rng.normal(1, 3, size=(9, 5)).astype("float32")
    assert float(coral.coral(source, target)) == pytest.approx(
        float(correlation_alignment.coral(source, target)), 1e-5
    )
    assert float(coral.coral(source, source)) == 0


def test_dann_passes_features_on_and_turns_their_gradient_round():
    inputs = keras.Input((2,))
    weights = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    reverse = dann.ReverseGradient()
    model = keras.Model(inputs, reverse(weights(inputs)))
    reverse.strength.assign(0.3)
    x = np.array([[1.0, 2.0]], "float32")
    assert float(model(x)[0, 0]) == pytest.approx(3.0)
    model.compile(keras.optimizers.SGD(0.1), loss=lambda y, out: ops.mean(out))
    model.train_on_batch(x, np.zeros((1, 1)))
    # gradient descent on the output would take 0.1 * x off
    assert np.ravel(weights.kernel) == pytest.approx([1 + 0.1 * 0.3 * 1, 1 + 0.1 * 0.3 * 2], abs=1e-6)


def test_nt_xent_is_that_of_simclr(rng):
    first, second = rng.normal(size=(2, 6, 4)).astype("float32")
    ours = float(losses.nt_xent(first, second, 0.5))
    assert float(self_supervised.nt_xent(np.concatenate([first, second]), 0.5)) == pytest.approx(ours, 1e-5)


@pytest.mark.parametrize("width", [4, 30, 90])
def test_logme_is_the_evidence_at_its_maximum(rng, width):
    labels = rng.integers(0, 3, 60)
    features = 7 * rng.normal(size=(60, width))
    features[:, :3] += np.eye(3)[labels] * 5
    assert logme_recipe.logme(features, labels) == pytest.approx(logme(features, labels), abs=1e-5)


def test_logme_takes_features_that_never_fire(rng):
    labels, features = np.arange(40) % 2, np.maximum(rng.normal(size=(40, 6)), 0)
    features[:, :2] = 0
    assert logme_recipe.logme(features, labels) == pytest.approx(logme(features, labels), abs=1e-5)


def moved(make, shares, scaled=False):
    """How far two variables move in three steps with the same gradients."""
    variables = [keras.Variable(np.zeros(3, "float32"), name=name) for name in ("low", "high")]
    scales = {variables[0].path: shares[0], variables[1].path: shares[1]}
    optimizer = make(scales)
    with scaled_learning_rates(optimizer, scales) if scaled else nullcontext():
        for step in range(3):
            gradients = [ops.convert_to_tensor([1.0, -0.1 * step, 5.0])] * 2
            optimizer.apply(gradients, variables)
    return [np.array(each) for each in variables]


def test_the_step_of_a_stage_is_scaled_and_not_its_gradient():
    low, high = moved(lambda scales: discriminative_rates.ScaledAdam(0.01, scales), (0.25, 1.0))
    assert low == pytest.approx(0.25 * high, abs=1e-7)
    reference = moved(lambda scales: keras.optimizers.Adam(0.01), (0.25, 1.0), scaled=True)
    assert [low, high] == pytest.approx(np.array(reference), abs=1e-6)


def test_stages_take_smaller_steps_the_lower_they_lie():
    layers = [keras.layers.Dense(2, name=f"dense_{i}") for i in range(4)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    scales = discriminative_rates.depth_scales(model, stages=2, decay=0.4)
    by_layer = [scales[layer.kernel.path] for layer in layers]
    assert by_layer == pytest.approx([0.16, 0.16, 0.4, 0.4])


def test_a_missing_label_counts_nothing(tmp_path, monkeypatch, rng):
    table = tmp_path / "labels.csv"
    table.write_text("file,form,colour\na.png,round,red\nb.png,,blue\nd.png,edgy,red\n", "utf-8")
    monkeypatch.setattr(multi_task, "LABELS", table)
    class_names, labels = multi_task.read_labels(["a.png", "b.png", "c.png", "d.png"])
    assert class_names == {"form": ["edgy", "round"], "colour": ["blue", "red"]}
    assert {task: y.tolist() for task, y in labels.items()} == {
        "form": [1, -1, -1, 0],
        "colour": [1, 0, -1, 1],
    }
    predictions = ops.softmax(rng.normal(size=(4, 2)).astype("float32"))
    known = (labels["form"] >= 0).astype("float32")
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    ours = Classification(class_names["form"]).loss(labels["form"], predictions)
    assert float(loss(np.maximum(labels["form"], 0), predictions, known)) == pytest.approx(float(ours), 1e-5)


def drawn(rng, logits):
    """Labels `(n,)`, each drawn from the probabilities of its logits."""
    probabilities = temperature.softmax(logits)
    return (rng.random((len(logits), 1)) > probabilities.cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize("sharpened", [0.5, 1.0, 4.0])
def test_the_temperature_takes_back_what_sharpens_calibrated_logits(rng, sharpened):
    logits = 2 * rng.normal(size=(20_000, 4))
    labels = drawn(rng, logits)
    assert temperature.fit_temperature(sharpened * logits, labels) == pytest.approx(sharpened, 0.05)


def test_the_calibration_error_is_the_gap_of_confidence_and_accuracy(rng):
    logits = 2 * rng.normal(size=(20_000, 4))
    labels = drawn(rng, logits)
    assert temperature.calibration_error(temperature.softmax(logits), labels) < 0.02
    sure = np.tile([0.1, 0.9], (10, 1))
    assert temperature.calibration_error(sure, np.repeat([0, 1], [4, 6])) == pytest.approx(0.3)
    assert temperature.calibration_error(np.eye(2)[[0, 1]], np.array([0, 1])) == 0


def test_a_flipped_label_is_the_most_suspect(rng):
    right = np.repeat(range(3), 40)
    features = rng.normal(size=(120, 5))
    features[:, :3] += 6 * np.eye(3)[right]
    labels = right.copy()
    labels[7] = 2
    probabilities = audit.predict_held_out(features, labels, np.arange(120))
    suspects, suggested = audit.find_suspects(probabilities, labels)
    assert (suspects[0], suggested[0]) == (7, 0)
    assert len(suspects) < 6


def test_a_copy_does_not_confirm_a_wrong_label(rng, monkeypatch):
    """The classifier that predicts an image saw no image of its group."""
    monkeypatch.setattr(audit, "STRENGTH", 10.0)
    labels = np.repeat(range(2), 20)
    features = rng.normal(size=(40, 200))
    features[21:30:2] = features[20:29:2]
    pairs = audit.near_duplicates(features)
    assert {pair[1:] for pair in pairs} == {(i, i + 1) for i in range(20, 30, 2)}
    groups = audit.group(pairs, 40)
    assert len(set(groups)) == 35
    assert (groups[20:29:2] == groups[21:30:2]).all()
    alone = audit.predict_held_out(features, labels, np.arange(40))
    grouped = audit.predict_held_out(features, labels, groups)
    assert alone[20:30, 1].mean() > 0.8
    assert grouped[20:30, 1].mean() < 0.7


def test_chains_of_near_duplicates_are_one_group():
    groups = audit.group([(0.99, 0, 3), (0.95, 3, 4), (0.91, 1, 5)], 6)
    assert groups[0] == groups[3] == groups[4]
    assert groups[1] == groups[5]
    assert len(set(groups)) == 3
    assert len(set(audit.group([], 6))) == 6


def test_a_learning_curve_nests_its_subsets_and_tests_on_no_image_of_them(rng, monkeypatch):
    labels = rng.permutation(np.repeat(range(3), 30))
    subsets = [set(rows) for rows in learning_curve.nested_subsets(labels, [1, 4, 9], seed=5)]
    assert [len(rows) for rows in subsets] == [3, 12, 27]
    assert subsets[0] < subsets[1] < subsets[2]
    # a feature that identifies the image, and nothing else, cannot help on other images
    monkeypatch.setattr(learning_curve, "COUNTS", (5, 20, 100))
    counts, accuracies, tested = learning_curve.measure(np.eye(90), labels)
    assert (counts, tested, accuracies.shape) == ([5, 20], 27, (10, 2))
    assert accuracies.max() < 0.5


def test_a_learning_curve_fits_a_power_law():
    counts = [1, 4, 16, 64]
    assert learning_curve.fit_power_law(counts, 0.4 * np.array(counts) ** -0.5) == pytest.approx((0.4, 0.5))
    assert learning_curve.fit_power_law(counts, np.array([0.2, 0.1, 0.0, 0.0])) is None
