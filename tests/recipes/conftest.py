"""Scripts as a reader uses them: printed, their constants edited, and run."""

import ast
import runpy

import numpy as np
import pytest
from PIL import Image

from tlkit.recipes import find

SIZE = 32
CLASSES = ("0", "1", "7")
TINY = {
    "BACKBONE": "lambda **options: keras.applications.MobileNet(alpha=0.25, **options)",
    "PREPROCESS": "keras.applications.mobilenet.preprocess_input",
    "IMAGE_SIZE": SIZE,
}


def tiny(weights=None):
    """The network of `TINY`."""
    import keras

    return keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=weights, input_shape=(SIZE, SIZE, 3), pooling="avg"
    )


def edit(text, constants):
    """Replace the values of constants at the top of a script, as a reader does by hand."""
    lines = text.splitlines(keepends=True)
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            name = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            if name in constants:
                lines[node.lineno - 1 : node.end_lineno] = [f"{name} = {constants.pop(name)}\n"]
    assert not constants, f"the script has no {', '.join(constants)}"
    return "".join(lines)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a recipe in a folder of its own, with these constants, as `python NAME.py` does."""

    def script(name, **constants):
        monkeypatch.chdir(tmp_path)
        path = tmp_path / f"{name}.py"
        path.write_text(edit(find(name).text, constants), "utf-8")
        return runpy.run_path(str(path), run_name="__main__")

    return script


@pytest.fixture(scope="session")
def digits_of_three():
    """240 digits of three classes, uint8 `(n, 32, 32, 3)`, and their labels."""
    from tlkit import load

    train = load("digits/mnist").train
    rows = np.concatenate([np.flatnonzero(train.labels == int(name))[:80] for name in CLASSES])
    return np.pad(train.images[rows], ((0, 0), (2, 2), (2, 2), (0, 0))), np.repeat(range(3), 80)


@pytest.fixture(scope="session")
def folder(digits_of_three, tmp_path_factory):
    """The digits as a folder, one sub-folder a class."""
    return written(tmp_path_factory.mktemp("digits"), *digits_of_three)


@pytest.fixture(scope="session")
def inverted(digits_of_three, tmp_path_factory):
    """The digits as another kind of images: black on white."""
    images, labels = digits_of_three
    return written(tmp_path_factory.mktemp("inverted"), 255 - images, labels)


def written(root, images, labels):
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
    backbone = tiny()
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # few steps must do
    model = keras.Sequential(
        [keras.layers.Rescaling(1 / 127.5, -1), backbone, keras.layers.Dense(3, activation="softmax")]
    )
    model.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    model.fit(images, labels, epochs=6, verbose=0)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    backbone.save_weights(path)
    return path
