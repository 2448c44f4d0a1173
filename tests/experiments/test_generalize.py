"""Domain generalization: each domain is left out once, and none of its images is read before."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from pushes import full, graph, mostly_full, traced

import tlkit
from tlkit.callbacks import Interruptible
from tlkit.data import Split
from tlkit.data.images import ImageFiles
from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.experiments.domain_trainings import DomainTrainings
from tlkit.techniques.logistic_regression import solve

LENET = {"backbone": "LeNet", "weights": None, "epochs": 1}


def changed(data, name, change):
    parts = {key: Split(change(each.images), each.labels, each.names) for key, each in data.splits.items()}
    return replace(data, **parts, card=replace(data.card, name=name))


@pytest.fixture(scope="module")
def domains(digits):
    parts = {name: split.subset(slice(48)) for name, split in digits.splits.items()}
    small = replace(digits, **parts)
    return [
        small,
        changed(small, "negatives", lambda images: 255 - images),
        changed(replace(small, test=None), "faint", lambda images: (100 + images // 4).astype("uint8")),
    ]


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(0)
    return tlkit.load_backbone("LeNetBN", weights=None)


@pytest.fixture(scope="module")
def found(domains, backbone):
    """A network whose weights count as pretrained."""
    with traced():
        return tlkit.generalize(domains, methods=["frozen", "erm", "averaging"], backbone=backbone, epochs=2)


def test_each_domain_is_left_out_by_each_method(found, domains):
    assert found.domains == ["digits/optical", "negatives", "faint"]
    assert [(each.left_out, each.method) for each in found.outcomes] == [
        (index, method) for index in range(3) for method in ("frozen", "erm", "averaging")
    ]
    assert found.complete
    assert [len(found.of("erm")[index].labels) for index in range(3)] == [48, 48, 96]  # test, test, all
    np.testing.assert_array_equal(found.of("erm")[0].labels, domains[0].test.labels)
    assert all(0 <= each.held_out <= 1 for each in found.outcomes)
    assert [each.steps for each in found.of("erm")] == [12, 12, 12]  # two epochs of 96 images, 16 at a time
    assert {each.steps for each in found.of("frozen")} == {0}


def test_the_method_with_the_highest_mean_is_chosen(found):
    right = {m: [each.predicted == each.labels for each in found.of(m)] for m in found.methods}
    means = {method: np.mean([each.mean() for each in values]) for method, values in right.items()}
    assert found.chosen == max(means, key=means.__getitem__)


def test_the_classifier_learns_from_all_labels_of_all_domains(domains, backbone):
    found = tlkit.generalize(domains, methods=["frozen"], backbone=backbone)
    splits = [each for data in domains for each in (data.train, data.validation)]
    features = np.concatenate([tlkit.extract(backbone, each) for each in splits])
    expected = solve(features, np.concatenate([each.labels for each in splits]), 10)
    tested = domains[0].test.images
    predicted = found.model.predict(tested, verbose=0)
    np.testing.assert_allclose(predicted, expected.predict(tlkit.extract(backbone, tested)), atol=1e-3)


def test_the_backbone_keeps_its_own_weights(domains, backbone, found):
    again = tlkit.load_backbone("LeNetBN", weights=None)
    assert backbone.count_params() == again.count_params()
    assert found.model.get_layer(backbone.name) is not backbone


@graph
@pytest.mark.parametrize("pretrained", mostly_full([True, False], True))
def test_no_image_of_the_domain_that_is_left_out_is_read(domains, backbone, pretrained):
    hidden = ImageFiles(["missing.png"] * 48, 28, [b""] * 48)  # raises as soon as an image is read
    secret = replace(domains[1], train=Split(hidden, domains[1].train.labels), validation=None)
    every = [domains[0], secret, domains[2]]
    with DomainTrainings(every, backbone, pretrained, 1, None, 0, [], False) as trainings:
        for method in ("frozen", "erm", "mixstyle") if pretrained else ("erm", "group-dro"):
            trainings.fit(method, [0, 2])
        with pytest.raises(Exception, match=r"missing\.png"):
            trainings.fit("erm", [0, 1])


@full
@graph
def test_from_random_weights_there_are_no_frozen_features(domains):
    found = tlkit.generalize(domains[:2], methods=["frozen", "group-dro"], **LENET)
    assert found.methods == ["group-dro"]
    assert found.differences() == {}
    assert found.frozen["state"].eq("trainable").all()
    with pytest.raises(TlkitError, match="no frozen features"):
        tlkit.generalize(domains, methods=["frozen"], **LENET)


@graph
def test_ctrl_c_leaves_the_solved_head_and_the_rounds_that_are_complete(domains, backbone, monkeypatch):
    class Stops(Interruptible):
        trainings = 0

        def on_train_begin(self, logs=None):
            Stops.trainings += 1

        def on_train_end(self, logs=None):
            pass

        def on_train_batch_end(self, batch, logs=None):
            if Stops.trainings == 2:
                self.interrupted = self.model.stop_training = True

    monkeypatch.setattr("tlkit.experiments.generalize.Interruptible", Stops)
    found = tlkit.generalize(domains, methods=["frozen", "erm"], backbone=backbone, epochs=1)
    assert (found.interrupted, found.complete, found.chosen) == (True, False, "frozen")
    assert [each.left_out for each in found.of("erm")] == [0]
    assert "interrupted" in found.report().sections[1].blocks[0].text


def test_what_does_not_fit_is_refused(domains):
    with pytest.raises(DataError, match="expected at least 2"):
        tlkit.generalize(domains[:1], **LENET)
    with pytest.raises(UnknownNameError, match="Did you mean 'mixstyle'"):
        tlkit.generalize(domains, methods=["mixstyles"], **LENET)
    other = replace(domains[1], class_names=[*domains[1].class_names[:-1], "ten"])
    with pytest.raises(DataError, match="only negatives has ten"):
        tlkit.generalize([domains[0], other], **LENET)
