import keras
import numpy as np
import pytest

from tlkit.backbones import stages
from tlkit.challenges.overfitting import (
    DELTA,
    channel_attention,
    feature_distance,
    stoch_norm,
    stochastic_depth,
)
from tlkit.challenges.overfitting.parts import with_outputs
from tlkit.data import Split
from tlkit.errors import TlkitError, UnknownNameError
from tlkit.models import backbone_of, build_classifier, freeze
from tlkit.techniques.fine_tuning import fine_tune

RNG = np.random.default_rng(0)


def test_the_distance_is_the_weighted_sum_over_channels():
    start, now = RNG.normal(size=(2, 3, 4, 5, 6)).astype("float32")
    weights = RNG.uniform(size=6)
    weights /= weights.sum()
    expected = 0.0
    for channel in range(6):
        for example in range(3):
            moved = np.linalg.norm(now[example, ..., channel] - start[example, ..., channel])
            expected += 6 * weights[channel] * moved**2 / (4 * 5) / 2 / 3
    assert float(feature_distance(start, now, weights)) == pytest.approx(expected, rel=1e-4)
    uniform = np.full(6, 1 / 6)
    assert float(feature_distance(start, now)) == pytest.approx(
        float(feature_distance(start, now, uniform)), rel=1e-5
    )
    assert float(feature_distance(now, now)) == 0


def test_the_penalty_does_not_change_the_first_step(tiny, split, one_step):
    start, ends = tiny.get_weights(), []
    for strength in (0.0, 100.0):
        tiny.set_weights(start)
        history = one_step(with_frozen_statistics(DELTA, tiny, strength), split)
        ends.append((history.history["loss"][0], tiny.get_weights()))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-6)
    for one, other in zip(ends[0][1], ends[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert any(not np.array_equal(one, other) for one, other in zip(start, ends[1][1], strict=True))


def with_frozen_statistics(kind, model, *options):
    for layer in backbone_of(model).layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return kind(model, *options)


def test_the_penalty_keeps_feature_maps_nearer_to_the_start(tiny, split):
    start, names = tiny.get_weights(), ["conv2_add", "dense1"]
    maps = with_outputs(backbone_of(tiny), names)
    before = [np.array(each) for each in maps(split.images)]

    def moved(strength):
        tiny.set_weights(start)
        fine_tune(DELTA(tiny, strength), split, epochs=4, learning_rate=0.02)
        return [
            np.mean((np.array(now) - then) ** 2) for now, then in zip(maps(split.images), before, strict=True)
        ]

    plain, held = moved(0.0), moved(100.0)
    assert all(near < 0.5 * far for near, far in zip(held, plain, strict=True))
    assert all(near > 0 for near in held)


def test_only_the_chosen_stages_are_kept_and_the_copy_is_not_trained(tiny, split, one_step):
    learner = DELTA(tiny, 1.0, stages=["conv2"])
    assert learner.stages == ["conv2"]
    copy = learner.get_layer("near_features").start
    before = copy.get_weights()
    one_step(learner, split)
    assert all(np.array_equal(one, other) for one, other in zip(before, copy.get_weights(), strict=True))
    assert not set(map(id, copy.variables)) & set(map(id, tiny.variables))
    with pytest.raises(UnknownNameError, match="conv3"):
        DELTA(tiny, stages=["conv3"])
    with pytest.raises(TlkitError, match="at least 0"):
        DELTA(tiny, -1.0)


def test_it_fine_tunes_from_a_stage(tiny, split, weights_of):
    freeze(tiny)
    before = weights_of(tiny)
    fine_tune(DELTA(tiny), split, from_stage="dense", epochs=1)
    after = weights_of(tiny)
    moved = {path.split("/")[-2] for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {"dense1", "predictions"}


def test_attention_is_the_loss_without_each_channel(tiny, split):
    """Compared with a loop that sets one channel to 0 and runs the rest of the network."""
    found = channel_attention(tiny, split, stages=["conv2", "dense"])
    body, head = backbone_of(tiny), tiny.get_layer("head")
    for stage, weights in found.items():
        last = stages(body)[stage][-1]
        maps = np.array(keras.Model(body.inputs, last.output)(split.images))
        losses = []
        for channel in range(maps.shape[-1]):
            x = maps * (np.arange(maps.shape[-1]) != channel)
            if stage == "conv2":
                x = body.get_layer("dense1")(x.reshape(len(x), -1))
            p = np.array(head(x))
            losses.append(-np.mean(np.log(p[np.arange(len(p)), split.labels])))
        rise = (np.array(losses) - np.mean(losses)) / np.std(losses) / 5
        np.testing.assert_allclose(weights, np.exp(rise) / np.exp(rise).sum(), rtol=1e-3)


def test_the_channel_that_the_head_uses_has_the_largest_attention(tiny, split):
    kernel = tiny.get_layer("head").get_layer("predictions").kernel
    kernel.assign(np.where(np.arange(6)[:, None] == 1, 30 * np.array(kernel), 0))
    own = Split(split.images, np.array(tiny(split.images)).argmax(axis=1))
    weights = channel_attention(tiny, own, stages=["dense"])["dense"]
    assert weights.argmax() == 1
    np.testing.assert_allclose(np.delete(weights, 1), weights[0], rtol=1e-5)
    assert weights.sum() == pytest.approx(1)


def test_attention_refuses_a_stage_that_later_layers_bypass(split):
    pixels = keras.Input((8, 8, 3), name="pixels")
    x = skipped = keras.layers.Conv2D(3, 1, name="conv1")(pixels)
    x = keras.layers.Conv2D(3, 1, name="conv2")(x)
    x = keras.layers.Concatenate(name="dense1")([x, skipped])
    model = build_classifier(keras.Model(pixels, x, name="LeNet"), classes=3)
    with pytest.raises(
        TlkitError, match=r"above stage 'conv2' of LeNet needs more than its output.*Choose other stages"
    ):
        channel_attention(model, split, stages=["conv2"])
    with pytest.raises(UnknownNameError):
        channel_attention(model, split, stages=["top"])


def test_it_combines_with_other_regularisers(tiny, split, one_step):
    start = tiny.get_weights()
    one_step(DELTA(stochastic_depth(stoch_norm(tiny))), split)
    assert any(not np.array_equal(a, b) for a, b in zip(start, tiny.get_weights(), strict=True))
