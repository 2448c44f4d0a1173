"""Each regulariser trains with `fine_tune` and with stock `fit`, and the result is plain Keras."""

import keras
import numpy as np
import pytest
from pushes import graph, mostly_full

from tlkit.challenges.overfitting import REGULARIZERS, with_dropout
from tlkit.errors import TlkitError, UnknownNameError
from tlkit.models import flat_layers, normalizations

# options for a network of 8-pixel images, which has no ImageNet head
OPTIONS = {
    "co-tuning": lambda: {"source_head": source_head()},
    "delta": lambda: {"stages": ["conv2"]},
    "lp-ft": lambda: {"engine": "predict", "epochs": 5},
}


def source_head():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, activation="softmax")])


def options_of(regularizer):
    return OPTIONS.get(regularizer.name, dict)()


@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=lambda each: each.name)
def test_it_fine_tunes_and_the_saved_model_loads_without_tlkit(regularizer, tiny, split, tmp_path):
    before = tiny.get_weights()
    trained, history = regularizer.fine_tune(
        tiny, split, epochs=2, regularizer_options=options_of(regularizer)
    )
    assert np.isfinite(history.history["loss"]).all()
    assert len(history.history["accuracy"]) == 2
    if regularizer.name == "lora":
        assert trained.count_params() == sum(value.size for value in before)
    moved = [not np.array_equal(one, other) for one, other in zip(before, trained.get_weights(), strict=True)]
    assert any(moved[:2]) or regularizer.name == "lora"
    assert any(moved)
    assert not any("tlkit" in type(layer).__module__ for layer in flat_layers(trained))
    trained.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.array(again(split.images)), np.array(trained(split.images)))


LEARNERS = [each for each in REGULARIZERS if each.name not in ("lp-ft", "none") and not each.training()]


@graph
@pytest.mark.parametrize(
    "regularizer",
    mostly_full(LEARNERS, *map(REGULARIZERS.find, ("l2-sp", "bss", "co-tuning"))),
    ids=lambda each: each.name,
)
def test_stock_fit_trains_the_learner_and_with_it_the_model(regularizer, tiny, split, one_step):
    learner = regularizer.apply(tiny, split, None, **options_of(regularizer))
    before = tiny.get_weights()
    history = one_step(learner, split)
    assert np.isfinite(history.history["loss"][0])
    assert not all(np.array_equal(a, b) for a, b in zip(before, tiny.get_weights(), strict=True))
    one, other = (np.array(each(split.images, training=False)) for each in (learner, tiny))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_dropout_acts_on_the_features_only_during_training(tiny, split):
    last = tiny.get_layer("head").get_layer("predictions")
    last.activation = keras.activations.linear
    last.set_weights([np.eye(6, 3), np.zeros(3)])  # the outputs are the first three features
    expected = np.array(tiny(split.images))
    learner = with_dropout(tiny, 0.4)
    np.testing.assert_array_equal(np.array(learner(split.images)), expected)
    for layer in normalizations(tiny):
        layer.trainable = False
    found = np.array([np.array(learner(split.images, training=True)) for _ in range(20)])
    dropped = found == 0
    assert 0.34 < dropped.mean() < 0.46  # 720 draws: three standard deviations are 0.055
    np.testing.assert_allclose(found, np.where(dropped, 0, expected / 0.6), rtol=1e-4)
    with pytest.raises(TlkitError, match="rate=1 was given"):
        with_dropout(tiny, 1)


def test_regularisers_are_found_by_name():
    assert REGULARIZERS.find("L2-SP").name == "l2-sp"
    assert len({each.name for each in REGULARIZERS}) == len(REGULARIZERS)
    with pytest.raises(UnknownNameError, match="Did you mean 'mixup'"):
        REGULARIZERS.find("mixupp")


def test_options_of_the_call_override_those_of_the_table(tiny, split, monkeypatch):
    passed = {}
    monkeypatch.setattr(
        "tlkit.challenges.overfitting.regularizers.fine_tune", lambda *_, **options: passed.update(options)
    )
    REGULARIZERS.find("weight-decay").fine_tune(tiny, split, epochs=3, learning_rate=0.02)
    made = passed.pop("optimizer")(10)
    assert (made.weight_decay, passed) == (0.05, {"epochs": 3})
    assert float(
        np.max([made.learning_rate, *map(float, map(made._learning_rate, range(10)))])
    ) == pytest.approx(0.02)
    REGULARIZERS.find("weight-decay").fine_tune(tiny, split, optimizer="sgd")
    assert passed["optimizer"] == "sgd"
