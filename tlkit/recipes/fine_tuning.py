"""Fine-tuning: train a new head, then also the top layers, at a low learning rate.

The head is trained first, because the large gradients of a random head would destroy good features.

Yosinski et al. 2014, "How transferable are features in deep neural networks?"; Kumar et al. 2022,
"Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution".
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
EPOCHS, LEARNING_RATE = 20, 1e-4  # a high learning rate would destroy the pretrained features
UNFROZEN = 0.3  # top fraction of the backbone's layers that is trained; use more with more images
FLIP = "horizontal"  # None for digits and letters
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


def build(classes: int) -> tuple[keras.Model, keras.Model]:
    """Return the classifier, from raw pixels (0 to 255) to probabilities, and its backbone."""
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    x = images
    if FLIP:  # augmentation layers are active only in training
        x = keras.layers.RandomFlip(FLIP)(x)
    x = keras.layers.RandomRotation(0.03)(x)
    features, backbone = apply_backbone(x)
    features = keras.layers.Dropout(0.2)(features)
    outputs = keras.layers.Dense(classes, activation="softmax", name="head")(features)
    return keras.Model(images, outputs), backbone


def unfreeze(backbone: keras.Model, fraction: float) -> None:
    """Make the top fraction of the layers (0 to 1) trainable, except BatchNormalization.

    Frozen BatchNormalization layers keep the statistics of the many pretraining images. Calling the backbone
    with `training=False` is not enough, because `fit` in Keras 3 overrides it with `training=True`.
    """
    backbone.trainable = True
    first = round(len(backbone.layers) * (1 - fraction))
    for position, layer in enumerate(backbone.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= first and not is_norm


def train_on(model: keras.Model, train: Any, validation: Any, rate: float, epochs: int) -> None:
    """Compile and fit the model; a change of `trainable` takes effect only at the next `compile`."""
    model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    model.fit(train, validation_data=validation, epochs=epochs, callbacks=[stop], verbose=2)


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
    """Train the head, then the top of the network, and save the model."""
    keras.utils.set_random_seed(SEED)
    train, validation, test, class_names = load_splits()
    model, backbone = build(len(class_names))
    backbone.trainable = False
    train_on(model, train, validation, HEAD_RATE, HEAD_EPOCHS)
    unfreeze(backbone, UNFROZEN)
    train_on(model, train, validation, LEARNING_RATE, EPOCHS)

    model.save(OUT)
    Path(OUT).with_suffix(".classes.json").write_text(json.dumps(class_names), "utf-8")
    _, accuracy = model.evaluate(test, verbose=0)
    images_tested = sum(len(labels) for _, labels in test)
    print(f"{OUT}: test accuracy {accuracy:.1%} on {images_tested} images")
    print(f"classes {', '.join(class_names)}")


if __name__ == "__main__":
    predict(sys.argv[1]) if len(sys.argv) > 1 else main()  # `python THIS_FILE image.jpg` predicts
