"""Discriminative rates: fine-tune all stages, with smaller learning rates for lower stages.

Low layers respond to edges and colours, which are useful for every task. High layers respond to what the
pretraining task needed, so they have to change more.

Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification".
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras

DATA = "path/of/folder"  # one sub-folder for each class
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
# Offline: run `tlkit.load_backbone("EfficientNetLite0", image_size=224).save("backbone.keras")` once and set
# WEIGHTS = "backbone.keras". This file replaces BACKBONE and PREPROCESS: it includes its preprocessing.
IMAGE_SIZE = 224
BATCH_SIZE = 32
HEAD_EPOCHS, HEAD_RATE = 10, 1e-3
EPOCHS, LEARNING_RATE = 20, 3e-4
STAGES = 5  # number of groups of the backbone's layers
DECAY = 0.4  # learning rate of a stage, relative to the stage above it; the paper uses 1 / 2.6
SEED = 0


def load_splits() -> tuple[Any, Any, Any, list[str]]:
    """Return batches for training (70 %), for validation (15 %), for the test (15 %), and the class names.

    The validation images decide when to stop; the test images are only reported. The files are drawn at
    random by SEED, and each is in one split. The splits are not stratified.
    """
    train, held_out = keras.utils.image_dataset_from_directory(
        DATA,
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        batch_size=None,
        validation_split=0.3,
        subset="both",
        seed=SEED,
    )
    half = len(held_out) // 2  # always the same images, because Keras shuffles only `train` in each epoch
    parts = train, held_out.take(half), held_out.skip(half)
    return *(part.batch(BATCH_SIZE).prefetch(2) for part in parts), train.class_names


def apply_backbone(images: Any) -> tuple[Any, keras.Model]:
    """Return the features `(n, d)` of raw pixels (0 to 255), and the backbone that extracts them."""
    if str(WEIGHTS).endswith(".keras"):  # a whole network, up to its feature maps
        backbone = keras.models.load_model(WEIGHTS)
        return keras.layers.GlobalAveragePooling2D()(backbone(images)), backbone
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    return backbone(PREPROCESS(images)), backbone


class ScaledAdam(keras.optimizers.Adam):
    """Adam that scales the learning rate of each variable, by its path; the default scale is 1.

    The learning rate is scaled, not the gradient: Adam divides each gradient by its running size, so that a
    smaller gradient makes the same update.
    """

    def __init__(self, learning_rate: float, scales: dict[str, float]) -> None:
        super().__init__(learning_rate)
        self.scales = scales

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        path = self._trainable_variables[self._get_variable_index(variable)].path
        super().update_step(gradient, variable, learning_rate * self.scales.get(path, 1.0))


def depth_scales(backbone: keras.Model, stages: int, decay: float) -> dict[str, float]:
    """Return the scale of each variable: from `decay` in the top stage to `decay ** stages` in the lowest."""
    scales: dict[str, float] = {}
    for position, layer in enumerate(backbone.layers):
        stage = stages * position // len(backbone.layers)  # 0 is the lowest
        scales |= {variable.path: decay ** (stages - stage) for variable in layer.trainable_variables}
    return scales


def predict(path: str) -> None:
    """Print the most probable class of an image file, by the saved model."""
    model = keras.models.load_model(OUT)
    class_names = json.loads(Path(OUT).with_suffix(".classes.json").read_text("utf-8"))
    pixels = keras.utils.img_to_array(keras.utils.load_img(path))
    pixels = keras.ops.image.resize(pixels, model.input_shape[1:3])  # bilinear, as in training
    probabilities = model.predict(pixels[None], verbose=0)[0]
    best = probabilities.argmax()
    print(f"{path}: {class_names[best]} ({probabilities[best]:.1%})")


def main() -> None:
    """Train the head, then all stages, and save the model."""
    keras.utils.set_random_seed(SEED)
    train, validation, test, class_names = load_splits()
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")  # raw pixels, 0 to 255
    features, backbone = apply_backbone(images)
    features = keras.layers.Dropout(0.2)(features)
    outputs = keras.layers.Dense(len(class_names), activation="softmax", name="head")(features)
    model = keras.Model(images, outputs)
    settings: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}

    backbone.trainable = False  # the head first: a random head would damage the features
    model.compile(keras.optimizers.Adam(HEAD_RATE), **settings)
    model.fit(train, validation_data=validation, epochs=HEAD_EPOCHS, verbose=2)

    backbone.trainable = True
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # keeps the statistics of the many pretraining images
    model.compile(ScaledAdam(LEARNING_RATE, depth_scales(backbone, STAGES, DECAY)), **settings)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    model.fit(train, validation_data=validation, epochs=EPOCHS, callbacks=[stop], verbose=2)

    _, accuracy = model.evaluate(test, verbose=0)
    keras.Model(images, outputs).save(OUT)  # without ScaledAdam, so the file opens anywhere
    Path(OUT).with_suffix(".classes.json").write_text(json.dumps(class_names), "utf-8")
    images_tested = sum(len(labels) for _, labels in test)
    print(f"{OUT}: test accuracy {accuracy:.1%} on {images_tested} images")
    print(f"classes {', '.join(class_names)}")


if __name__ == "__main__":
    predict(sys.argv[1]) if len(sys.argv) > 1 else main()  # `python THIS_FILE image.jpg` predicts
