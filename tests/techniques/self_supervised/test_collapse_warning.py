"""The callback that looks at the network after each epoch: when it warns, and when it holds its tongue."""

import warnings

import keras
import numpy as np
import pytest

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
def told():
    """Run a function; return what it gave, and the warnings of tlkit that came meanwhile."""

    def run(function):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            given = function()
        return given, [str(each.message) for each in caught if issubclass(each.category, TlkitWarning)]

    return run


@pytest.fixture
def learner(small):
    def build(objective=None, step_size=1e-3, constant=False):
        backbone = small()
        if constant:
            last = backbone.layers[-1]
            last.set_weights([0 * last.get_weights()[0], np.ones(8)])
        learner = SelfSupervised(backbone, objective or SimCLR(random_views(crop=0.2), projector=(32, 16)))
        learner.compile(keras.optimizers.Adam(step_size))
        return learner

    return build


def test_a_constant_encoder_is_told_once_with_what_to_do(learner, pictures, told):
    watched = learner(step_size=0.0, constant=True)
    history, said = told(
        lambda: (
            watched.fit(
                pictures, batch_size=32, epochs=3, verbose=0, callbacks=[CollapseWarning(pictures)]
            ).history
        )
    )
    assert len(said) == 1
    assert said[0].startswith("Collapse in epoch 1:")
    assert "SimCLR, Barlow Twins, VICReg" in said[0]
    assert history["effective_rank"] == [0.0] * 3
    assert history["spread"] == pytest.approx([0.0] * 3, abs=1e-3)


def test_a_healthy_encoder_is_left_alone_and_the_history_has_its_figures(learner, pictures, told):
    watched = learner()
    history, said = told(
        lambda: (
            watched.fit(
                pictures, batch_size=32, epochs=4, verbose=0, callbacks=[CollapseWarning(pictures[:40])]
            ).history
        )
    )
    assert said == []
    assert len(history["loss"]) == len(history["spread"]) == len(history["effective_rank"]) == 4
    # the figures are those of the network as it is now, in inference mode, on the images that were given
    features, embeddings = watched.features_and_embeddings(pictures[:40])
    assert history["spread"][-1] == pytest.approx(spread(embeddings), rel=1e-4)
    assert history["effective_rank"][-1] == pytest.approx(effective_rank(features), rel=1e-4)


def test_a_collapse_that_training_makes_is_seen(learner, pictures, told):
    views = random_views(crop=0.2)
    watched = learner(SimSiam(views, projector=(32, 16), predictor=8, stop_gradient=False), step_size=0.03)
    first, said = told(
        lambda: watched.fit(pictures, batch_size=64, verbose=0, callbacks=[CollapseWarning(pictures)]).history
    )
    assert said == []
    watched.fit(pictures, batch_size=64, epochs=60, verbose=0)
    last, said = told(
        lambda: (
            watched.fit(
                pictures, batch_size=64, verbose=0, callbacks=[CollapseWarning(Split(pictures))]
            ).history
        )
    )
    assert last["loss"][0] < -0.95  # what the method wanted it has
    assert last["spread"][0] < 0.1 < first["spread"][0]
    assert len(said) == 1


SPREAD = np.random.default_rng(0).normal(size=(30, 8))
NEAR = 100 + SPREAD
LINE = np.outer(np.linspace(1, 2, 30), np.ones(8))
CASES = [
    (SPREAD, SPREAD, False),
    (SPREAD, np.ones((30, 8)), True),  # embeddings are one point
    (LINE, SPREAD, True),  # features lie on a line, and embeddings do not show it
    (NEAR, NEAR, False),  # no embeddings: features with a large mean that tell images apart
    (LINE, LINE, True),
]


@pytest.mark.parametrize(("features", "embeddings", "warns"), CASES)
def test_either_sign_is_enough(features, embeddings, warns, learner, pictures, told, monkeypatch):
    watched = learner()
    monkeypatch.setattr(watched, "look", lambda images: (features, embeddings))
    watched.optimizer.iterations.assign(50)
    callback, logs = CollapseWarning(pictures), {}
    callback.set_model(watched)
    _, said = told(lambda: callback.on_epoch_end(0, logs))
    assert bool(said) == warns
    assert logs == {"spread": spread(embeddings), "effective_rank": effective_rank(features)}


def test_a_new_projector_may_start_with_all_embeddings_close_together(learner, pictures, told, monkeypatch):
    watched = learner()
    monkeypatch.setattr(watched, "look", lambda images: (SPREAD, NEAR))
    callback = CollapseWarning(pictures)
    callback.set_model(watched)
    for steps, warnings_so_far in ((0, 0), (49, 0), (50, 1)):
        watched.optimizer.iterations.assign(steps)
        _, said = told(lambda: callback.on_epoch_end(0, {}))
        assert len(said) == warnings_so_far


def test_it_warns_anew_in_a_new_training(learner, pictures, told):
    watched, callback = learner(step_size=0.0, constant=True), CollapseWarning(pictures)
    for _ in range(2):
        _, said = told(lambda: watched.fit(pictures, batch_size=64, verbose=0, callbacks=[callback]))
        assert len(said) == 1


def test_a_loss_that_is_no_number_is_told_as_that(learner, pictures):
    watched = learner(step_size=float("nan"))
    with pytest.raises(TlkitError, match="the loss became nan"):
        watched.fit(pictures, batch_size=32, epochs=3, verbose=0, callbacks=[CollapseWarning(pictures)])


def test_a_fit_of_another_model_is_refused(small, pictures):
    model = keras.Sequential([small(), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    with pytest.raises(TlkitError, match="give it to that of SelfSupervised"):
        model.fit(pictures, np.zeros(64), verbose=0, callbacks=[CollapseWarning(pictures)])
