"""`CollapseWarning` warns of collapse, and only of collapse."""

import warnings

import keras
import numpy as np
import pytest
from pushes import full, graph

from tlkit.data import Split
from tlkit.errors import TlkitError, TlkitWarning
from tlkit.techniques.self_supervised import (
    CollapseWarning,
    SelfSupervised,
    SimCLR,
    SimSiam,
    effective_rank,
    random_views,
    spread,
)


@pytest.fixture
def with_warnings():
    """Run a function; return its result and the messages of its tlkit warnings."""

    def run(function):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = function()
        return result, [str(each.message) for each in caught if issubclass(each.category, TlkitWarning)]

    return run


@pytest.fixture
def learner(small):
    def build(objective=None, learning_rate=1e-3, constant=False):
        backbone = small()
        if constant:
            last = backbone.layers[-1]
            last.set_weights([0 * last.get_weights()[0], np.ones(8)])
        learner = SelfSupervised(backbone, objective or SimCLR(random_views(crop=0.2), projector=(32, 16)))
        learner.compile(keras.optimizers.Adam(learning_rate))
        return learner

    return build


def test_a_constant_encoder_gets_one_warning_with_advice(learner, images, with_warnings):
    watched = learner(learning_rate=0.0, constant=True)
    history, messages = with_warnings(
        lambda: (
            watched.fit(
                images, batch_size=32, epochs=3, verbose=0, callbacks=[CollapseWarning(images)]
            ).history
        )
    )
    assert len(messages) == 1
    assert messages[0].startswith("Collapse in epoch 1:")
    assert "SimCLR, Barlow Twins, VICReg" in messages[0]
    assert history["effective_rank"] == [0.0] * 3
    assert history["spread"] == pytest.approx([0.0] * 3, abs=1e-3)


def test_a_healthy_encoder_gets_no_warning_and_its_measures_are_in_the_history(
    learner, images, with_warnings
):
    watched = learner()
    history, messages = with_warnings(
        lambda: (
            watched.fit(
                images, batch_size=32, epochs=4, verbose=0, callbacks=[CollapseWarning(images[:40])]
            ).history
        )
    )
    assert messages == []
    assert len(history["loss"]) == len(history["spread"]) == len(history["effective_rank"]) == 4
    # the measures of the last epoch are those of the trained network in inference mode
    features, embeddings = watched.features_and_embeddings(images[:40])
    assert history["spread"][-1] == pytest.approx(spread(embeddings), rel=1e-4)
    assert history["effective_rank"][-1] == pytest.approx(effective_rank(features), rel=1e-4)


@full
@graph
def test_a_collapse_during_training_gets_a_warning(learner, images, with_warnings):
    views = random_views(crop=0.2)
    watched = learner(
        SimSiam(views, projector=(32, 16), predictor=8, stop_gradient=False), learning_rate=0.03
    )
    first, messages = with_warnings(
        lambda: watched.fit(images, batch_size=64, verbose=0, callbacks=[CollapseWarning(images)]).history
    )
    assert messages == []
    watched.fit(images, batch_size=64, epochs=60, verbose=0)
    last, messages = with_warnings(
        lambda: (
            watched.fit(images, batch_size=64, verbose=0, callbacks=[CollapseWarning(Split(images))]).history
        )
    )
    assert last["loss"][0] < -0.95  # nearly the minimum of the loss
    assert last["spread"][0] < 0.1 < first["spread"][0]
    assert len(messages) == 1


SPREAD = np.random.default_rng(0).normal(size=(30, 8))
NEAR = 100 + SPREAD
LINE = np.outer(np.linspace(1, 2, 30), np.ones(8))
CASES = [
    (SPREAD, SPREAD, False),
    (SPREAD, np.ones((30, 8)), True),  # the embeddings are one point
    (LINE, SPREAD, True),  # the features lie on a line, but the embeddings do not
    (NEAR, NEAR, False),  # no separate embeddings: features with a large mean, but all different
    (LINE, LINE, True),
]


@pytest.mark.parametrize(("features", "embeddings", "warns"), CASES)
def test_a_small_spread_or_a_small_rank_is_enough(
    features, embeddings, warns, learner, images, with_warnings, monkeypatch
):
    watched = learner()
    monkeypatch.setattr(watched, "features_and_embeddings", lambda images: (features, embeddings))
    watched.optimizer.iterations.assign(50)
    callback, logs = CollapseWarning(images), {}
    callback.set_model(watched)
    _, messages = with_warnings(lambda: callback.on_epoch_end(0, logs))
    assert bool(messages) == warns
    assert logs == {"spread": spread(embeddings), "effective_rank": effective_rank(features)}


def test_the_spread_counts_only_after_fifty_steps(learner, images, with_warnings, monkeypatch):
    watched = learner()
    monkeypatch.setattr(watched, "features_and_embeddings", lambda images: (SPREAD, NEAR))
    callback = CollapseWarning(images)
    callback.set_model(watched)
    for steps, warnings_so_far in ((0, 0), (49, 0), (50, 1)):
        watched.optimizer.iterations.assign(steps)
        _, messages = with_warnings(lambda: callback.on_epoch_end(0, {}))
        assert len(messages) == warnings_so_far


def test_it_warns_once_in_each_training(learner, images, with_warnings):
    watched, callback = learner(learning_rate=0.0, constant=True), CollapseWarning(images)
    for _ in range(2):
        _, messages = with_warnings(
            lambda: watched.fit(images, batch_size=64, verbose=0, callbacks=[callback])
        )
        assert len(messages) == 1


def test_a_nan_loss_is_reported_as_such(learner, images):
    watched = learner(learning_rate=float("nan"))
    with pytest.raises(TlkitError, match="the loss became nan"):
        watched.fit(images, batch_size=32, epochs=3, verbose=0, callbacks=[CollapseWarning(images)])


def test_a_fit_of_another_model_is_refused(small, images):
    model = keras.Sequential([small(), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    with pytest.raises(TlkitError, match="expected the fit of SelfSupervised"):
        model.fit(images, np.zeros(64), verbose=0, callbacks=[CollapseWarning(images)])
