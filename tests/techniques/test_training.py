"""Trainers create the variables of optimizer and metrics before the first step."""

import keras
import numpy as np
import pytest
from pushes import graph

from tlkit.data import Split
from tlkit.techniques.domain_adaptation import DANN, DomainAdapter, pair
from tlkit.techniques.feature_extraction import train_head
from tlkit.techniques.multi_task import Classification, MultiTask, build_multi_task
from tlkit.techniques.self_supervised import SelfSupervised, SimCLR
from tlkit.techniques.training import make_state

SPLIT = Split(np.zeros((64, 28, 28, 3), "uint8"), np.arange(64) % 10)


def adapt(network):
    adapter = DomainAdapter(network, DANN())
    adapter.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    adapter.fit(pair(SPLIT, SPLIT.unlabelled()), epochs=1, verbose=0)


def learn_alone(network):
    learner = SelfSupervised(network.get_layer("LeNet"), SimCLR())
    learner.compile("adam")
    learner.fit(SPLIT, batch_size=32, verbose=0)


def learn_tasks(network):
    tasks = {"digit": Classification(10)}
    learner = MultiTask(build_multi_task(network.get_layer("LeNet"), tasks), tasks)
    learner.compile("adam")
    learner.fit(SPLIT.images, {"digit": SPLIT.labels}, verbose=0)


def learn_head(network):
    train_head(network, SPLIT, epochs=1)


@graph
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces twice")
@pytest.mark.parametrize("learn", [adapt, learn_alone, learn_tasks, learn_head])
def test_the_step_is_traced_once(learn, lenet, monkeypatch):
    traced, step = [], keras.Model.train_step

    def counted(self, *arguments):
        traced.append(self)
        return step(self, *arguments)

    monkeypatch.setattr(keras.Model, "train_step", counted)
    learn(lenet)
    assert len(traced) == 1


def test_making_the_state_changes_neither_metrics_nor_weights(lenet):
    lenet.compile("sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    before = lenet.get_weights()
    make_state(lenet, SPLIT.labels, lenet.output_shape)
    assert lenet.get_metrics_result()["accuracy"] == 0
    assert all(map(np.array_equal, before, lenet.get_weights()))
