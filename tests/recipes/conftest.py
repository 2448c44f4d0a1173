"""Scripts as a reader uses them: their constants edited by hand, and run."""

import ast
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from tlkit.recipes import RECIPES

SIZE = 32
CLASSES = ("0", "1", "7")


def tiny(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg", momentum=0.99):
    """A network of three blocks that is called as those of `keras.applications`."""
    import keras

    blocks = [
        layer
        for i, width in enumerate((16, 32, 64))
        for layer in (
            keras.layers.Conv2D(width, 3, 2, "same", use_bias=False, name=f"conv_{i}"),
            keras.layers.BatchNormalization(momentum=momentum, name=f"bn_{i}"),
            keras.layers.ReLU(name=f"relu_{i}"),
        )
    ]
    images = x = keras.Input(input_shape, name="tiny_input")
    for layer in (*blocks, keras.layers.GlobalAveragePooling2D(name="pool")):
        x = layer(x)
    model = keras.Model(images, x, name="tiny")
    if weights is not None:
        model.load_weights(weights)
    return model


@pytest.fixture(scope="session")
def network():
    """The function that builds the tiny network."""
    return tiny


@pytest.fixture
def settings():
    """Constants that make a script use the tiny network."""
    return {
        "BACKBONE": "keras.applications.Tiny",
        "PREPROCESS": "keras.applications.mobilenet.preprocess_input",
        "IMAGE_SIZE": SIZE,
    }


def edit(name, constants):
    """Return the text of a recipe with other values for the constants at its top."""
    text = RECIPES.find(name).text
    lines, left = text.splitlines(keepends=True), dict(constants)
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target).strip("()")
            if name in left:
                lines[node.lineno - 1 : node.end_lineno] = [f"{name} = {left.pop(name)}\n"]
    assert not left, f"the script has no {', '.join(left)}"
    return "".join(lines)


@pytest.fixture(scope="session")
def edited():
    """See `edit`."""
    return edit


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a recipe on the tiny network in a folder of its own, with these constants; return the folder.

    `words` are the words after the name of the script on the command line.
    """
    import keras

    monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
    monkeypatch.chdir(tmp_path)

    def script(name, words=(), **constants):
        path = tmp_path / f"{name}.py"
        path.write_text(edit(name, constants), "utf-8")
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, words)])
        runpy.run_path(str(path), run_name="__main__")
        return tmp_path

    return script


@pytest.fixture(scope="session")
def digits_of_three():
    """240 digits of three classes, uint8 `(n, 32, 32, 3)`, and their labels."""
    from tlkit import load

    train = load("digits/mnist").train
    rows = np.concatenate([np.flatnonzero(train.labels == int(name))[:80] for name in CLASSES])
    return np.pad(train.images[rows], ((0, 0), (2, 2), (2, 2), (0, 0))), np.repeat(range(3), 80)


@pytest.fixture(scope="session")
def faded(digits_of_three):
    """The same digits as another kind of images: pale on a blue ground."""
    return digits_of_three[0] // 2 + np.array([10, 20, 60], "uint8")


@pytest.fixture(scope="session")
def folder(digits_of_three, tmp_path_factory):
    """The digits as a folder, one sub-folder a class."""
    return _written(tmp_path_factory.mktemp("digits"), *digits_of_three)


@pytest.fixture(scope="session")
def faded_folder(faded, digits_of_three, tmp_path_factory):
    """The faded digits as a folder."""
    return _written(tmp_path_factory.mktemp("faded"), faded, digits_of_three[1])


def _written(root, images, labels):
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / CLASSES[label] / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    return root


@pytest.fixture(scope="session")
def weights(digits_of_three, tmp_path_factory):
    """A weights file of the tiny network, trained on these digits until it tells them apart."""
    import keras

    keras.utils.set_random_seed(0)
    images, labels = digits_of_three
    backbone = tiny(momentum=0.8)  # few steps must do
    model = keras.Sequential(
        [keras.layers.Rescaling(1 / 127.5, -1), backbone, keras.layers.Dense(3, activation="softmax")]
    )
    model.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, epochs=5, verbose=0)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    backbone.save_weights(path)
    return path


@pytest.fixture(scope="session")
def saved_network(weights, tmp_path_factory):
    """A file as `load_backbone(...).save` writes: a network from raw pixels to feature maps."""
    import keras

    backbone = tiny(weights=weights)
    images = x = keras.Input((SIZE, SIZE, 3), name="pixels")
    for layer in (keras.layers.Rescaling(1 / 127.5, -1), *backbone.layers[1:-1]):
        x = layer(x)
    path = tmp_path_factory.mktemp("backbone") / "backbone.keras"
    keras.Model(images, x, name="tiny").save(path)
    return path
