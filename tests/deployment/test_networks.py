"""Models of other kinds are refused in one line, and logits become probabilities."""

import keras
import numpy as np
import pytest
from PIL import Image

from tlkit.deployment.networks import activation_of, check_answers, open_network
from tlkit.deployment.predict import predict
from tlkit.deployment.saved_run import open_run
from tlkit.errors import TlkitError, TlkitWarning

layers = keras.layers


def from_images(*ends, shape=(28, 28, 3)):
    """A model from images of a shape to the outputs of some layers."""
    inputs = keras.Input(shape)
    features = layers.Flatten()(inputs)
    outputs = [end(features) for end in ends]
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])


def of_two_images():
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.Add()(inputs))))


OTHERS = {
    "grey-scale images": lambda: from_images(layers.Dense(3, "softmax"), shape=(28, 28, 1)),
    "images of 4 channels": lambda: from_images(layers.Dense(3, "softmax"), shape=(28, 28, 4)),
    "expected square images": lambda: from_images(layers.Dense(3, "softmax"), shape=(28, 14, 3)),
    r"it takes \(None, 28\)": lambda: from_images(layers.Dense(3, "softmax"), shape=(28,)),
    "it has 2 inputs": of_two_images,
    "it has one output, a number": lambda: from_images(layers.Dense(1)),
    "2 outputs without names": lambda: from_images(layers.Dense(2), layers.Dense(2)),
    r"shape \(None, 28, 28, 3\), expected \(None, classes\)": lambda: keras.Sequential(
        [keras.Input((28, 28, 3)), layers.ReLU()]
    ),
    "takes images of 5000 pixels": lambda: keras.Sequential(
        [keras.Input((5000, 5000, 3)), layers.GlobalAveragePooling2D(), layers.Dense(2, "softmax")]
    ),
}


@pytest.mark.parametrize("reason", OTHERS)
def test_a_model_of_another_kind_is_refused(reason, tmp_path, saved):
    folder = saved()
    OTHERS[reason]().save(folder / "model.keras")
    for opened in (lambda: open_network(folder / "model.keras"), lambda: open_run(folder).model):
        with pytest.raises(TlkitError, match=reason) as refused:
            opened()
        assert len(str(refused.value).splitlines()) == 1


def test_a_sequential_model_is_opened(tmp_path):
    parts = [keras.Input((28, 28, 3)), layers.Flatten(), layers.Dense(3, "softmax")]
    keras.Sequential(parts).save(tmp_path / "model.keras")
    assert open_network(tmp_path / "model.keras").output.shape == (None, 3)


def image_in(folder):
    path = folder / "one.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), "uint8")).save(path)
    return path


def test_logits_become_probabilities_and_a_note_says_so(tmp_path):
    from_images(layers.Dense(3)).save(tmp_path / "model.keras")
    with pytest.warns(TlkitWarning) as warned:
        [answer] = predict(tmp_path / "model.keras", [image_in(tmp_path)], top=3)
    assert any("taken as logits, and a softmax was added" in str(each.message) for each in warned)
    probabilities = [each["probability"] for each in answer["classes"]]
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert all(0 <= each <= 1 for each in probabilities)


@pytest.mark.filterwarnings("ignore:.*no class names")
@pytest.mark.parametrize("activation", ["relu", "exponential"])
def test_answers_that_are_no_probabilities_are_refused(activation, tmp_path):
    from_images(layers.Dense(3, activation)).save(tmp_path / "model.keras")
    with pytest.raises(TlkitError, match=r"does not answer with probabilities|NaN or infinity"):
        predict(tmp_path / "model.keras", [image_in(tmp_path)])


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        ([[0.5, np.nan]], "classification", "NaN or infinity"),
        ([[np.inf]], "regression", "NaN or infinity"),
        ([[3.0, -2.0]], "classification", "between -2 and 3"),
        ([[0.9, 0.9]], "classification", "sum to between 1.8 and 1.8"),
        ([[0.9, 1.9]], "multi-label", "between 0.9 and 1.9"),
    ],
)
def test_impossible_answers_are_named(values, kind, reason):
    with pytest.raises(TlkitError, match=reason):
        check_answers(np.array(values), "The model", kind)


def test_possible_answers_pass():
    check_answers(np.array([[0.251, 0.748]]), "The model")
    check_answers(np.array([[0.9, 0.9]]), "The model", "multi-label")
    check_answers(np.array([[-300.0]]), "The model", "regression")


def test_the_activation_of_an_inner_model_is_found():
    inner = from_images(layers.Dense(3, "softmax"))
    assert activation_of(keras.Sequential([keras.Input((28, 28, 3)), inner]).outputs[0]) == "softmax"
    assert activation_of(from_images(layers.Dense(3)).outputs[0]) == "linear"
