"""Frozen features: extract features once, and train a head on them.

The pretrained network does not change, so an image has the same features in every epoch. Extracting them once
reduces the training of the head to seconds. Try this first, and use it as the baseline for other techniques.

Donahue et al. 2014, "DeCAF: A Deep Convolutional Activation Feature for Generic Visual Recognition".
"""

from typing import Any

import keras
import numpy as np

DATA = "path/of/folder"  # one sub-folder for each class
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
IMAGE_SIZE = 224
BATCH_SIZE = 32
EPOCHS = 50
LEARNING_RATE = 3e-3
SEED = 0


def build_extractor() -> keras.Model:
    """Return the model from raw pixels (0 to 255) to features; it includes the preprocessing."""
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    backbone.trainable = False
    return keras.Model(images, backbone(PREPROCESS(images)))


def extract(extractor: keras.Model, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return features `(n, d)` and labels `(n,)` from one pass: the next pass has another random order."""
    batches = [(extractor.predict_on_batch(x), y) for x, y in dataset.as_numpy_iterator()]
    features, labels = zip(*batches, strict=True)
    return np.concatenate(features), np.concatenate(labels)


def main() -> None:
    """Extract the features, train the head, and save both as one model."""
    keras.utils.set_random_seed(SEED)
    train, validation = keras.utils.image_dataset_from_directory(
        DATA,
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        batch_size=BATCH_SIZE,
        validation_split=0.2,
        subset="both",
        seed=SEED,
    )
    extractor = build_extractor()
    features, labels = extract(extractor, train)
    held_out = extract(extractor, validation)

    head = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(len(train.class_names), activation="softmax"),
        ],
        name="head",
    )
    head.compile(
        keras.optimizers.Adam(LEARNING_RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    head.fit(features, labels, BATCH_SIZE, EPOCHS, validation_data=held_out, callbacks=[stop], verbose=2)

    model = keras.Model(extractor.input, head(extractor.output))
    model.save(OUT)
    _, accuracy = head.evaluate(*held_out, verbose=0)
    print(f"{OUT}: validation accuracy {accuracy:.1%}; classes {', '.join(train.class_names)}")


if __name__ == "__main__":
    main()
