"""Frozen features: extract features once, and train a head on them.

The pretrained network does not change, so an image has the same features in every epoch. Extracting them once
reduces the training of the head to seconds. Try this first, and use it as the baseline for other techniques.

Donahue et al. 2014, "DeCAF: A Deep Convolutional Activation Feature for Generic Visual Recognition".
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

DATA = "path/of/folder"  # one sub-folder for each class
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
# Offline: run `tlkit.load_backbone("EfficientNetLite0", image_size=224).save("backbone.keras")` once and set
# WEIGHTS = "backbone.keras". This file replaces BACKBONE and PREPROCESS: it includes its preprocessing.
IMAGE_SIZE = 224
BATCH_SIZE = 32
EPOCHS = 50
LEARNING_RATE = 3e-3
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


def extract(extractor: keras.Model, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return features `(n, d)` and labels `(n,)` from one pass: the next pass has another random order."""
    batches = [(extractor.predict_on_batch(x), y) for x, y in dataset.as_numpy_iterator()]
    features, labels = zip(*batches, strict=True)
    return np.concatenate(features), np.concatenate(labels)


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
    """Extract the features, train the head, and save both as one model."""
    keras.utils.set_random_seed(SEED)
    train, validation, test, class_names = load_splits()
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    outputs, backbone = apply_backbone(images)
    backbone.trainable = False
    extractor = keras.Model(images, outputs)  # includes the preprocessing
    features, labels = extract(extractor, train)
    held_out, tested = extract(extractor, validation), extract(extractor, test)

    head = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(len(class_names), activation="softmax"),
        ],
        name="head",
    )
    head.compile(
        keras.optimizers.Adam(LEARNING_RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    head.fit(features, labels, BATCH_SIZE, EPOCHS, validation_data=held_out, callbacks=[stop], verbose=2)

    keras.Model(images, head(outputs)).save(OUT)
    Path(OUT).with_suffix(".classes.json").write_text(json.dumps(class_names), "utf-8")
    _, accuracy = head.evaluate(*tested, verbose=0)
    print(f"{OUT}: test accuracy {accuracy:.1%} on {len(tested[1])} images")
    print(f"classes {', '.join(class_names)}")


if __name__ == "__main__":
    predict(sys.argv[1]) if len(sys.argv) > 1 else main()  # `python THIS_FILE image.jpg` predicts
