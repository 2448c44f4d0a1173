"""DANN: adapt to unlabelled images by features that hide their domain.

A discriminator learns to predict the domain of a feature vector. Its gradient is reversed before it reaches
the encoder, which therefore learns features that hide the domain. Evaluate the result on a few labelled
target images (LABELLED_TARGET): the accuracy on the source says nothing about the target.

Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks".
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf  # reads the images; Keras may train on any backend
from keras import ops

SOURCE = "path/of/labelled"  # one sub-folder for each class
TARGET = "path/of/other/kind"  # only images, at any depth
LABELLED_TARGET = None  # or a folder of a few labelled target images, only for the report; classes as SOURCE
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
# Offline: run `tlkit.load_backbone("EfficientNetLite0", image_size=224).save("backbone.keras")` once and set
# WEIGHTS = "backbone.keras". This file replaces BACKBONE and PREPROCESS: it includes its preprocessing.
IMAGE_SIZE = 224
BATCH_SIZE = 32  # of each domain
EPOCHS = 20
LEARNING_RATE = 3e-3
STRENGTH = 0.3  # of the reversed gradient at the end; 1, as in the paper, is less stable
SEED = 0


def apply_backbone(images: Any) -> tuple[Any, keras.Model]:
    """Return the features `(n, d)` of raw pixels (0 to 255), and the backbone that extracts them."""
    if str(WEIGHTS).endswith(".keras"):  # a whole network, up to its feature maps
        backbone = keras.models.load_model(WEIGHTS)
        return keras.layers.GlobalAveragePooling2D()(backbone(images)), backbone
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    return backbone(PREPROCESS(images)), backbone


def reverse_gradient(x: Any, strength: Any) -> Any:
    """Return `x` unchanged, but multiply its gradient by `-strength`."""
    return -strength * x + ops.stop_gradient((1.0 + strength) * x)


class ReverseGradient(keras.layers.Layer):
    """Apply `reverse_gradient` with a strength that a callback can change."""

    def build(self, shape: Any) -> None:
        self.strength = self.add_weight(shape=(), initializer="zeros", trainable=False, name="strength")

    def call(self, x: Any) -> Any:
        return reverse_gradient(x, self.strength)


def with_domains(source: Any, target: Any) -> tuple[dict, dict]:
    """Return a batch of both domains with its targets: the class, and 1 for source or 0 for target."""
    domains = {"source_domain": tf.ones((BATCH_SIZE, 1)), "target_domain": tf.zeros((BATCH_SIZE, 1))}
    return {"source": source[0], "target": target}, {"classes": source[1], **domains}


def report(classifier: keras.Model, validation: Any, target: Any, class_names: list[str]) -> None:
    """Print the accuracy on the source, the predictions on the target, and the accuracy on LABELLED_TARGET.

    Compare the target images per class with what you expect. If a class has none or most of them, the
    adaptation has probably failed.
    """
    classifier.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    _, accuracy = classifier.evaluate(validation, verbose=0)
    print(f"{OUT}: validation accuracy on the source {accuracy:.1%} on {len(validation.file_paths)} images")
    predicted = classifier.predict(target, verbose=0).argmax(axis=1)
    counts = np.bincount(predicted, minlength=len(class_names))
    found = ", ".join(f"{name} {count}" for name, count in zip(class_names, counts, strict=True))
    print(f"target images per predicted class: {found}")
    if LABELLED_TARGET:
        labelled = keras.utils.image_dataset_from_directory(
            LABELLED_TARGET, class_names=class_names, image_size=(IMAGE_SIZE, IMAGE_SIZE)
        )
        _, accuracy = classifier.evaluate(labelled, verbose=0)
        print(f"accuracy on the target {accuracy:.1%} on {len(labelled.file_paths)} labelled images")


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
    """Train on both domains at once, and save the classifier."""
    keras.utils.set_random_seed(SEED)
    options: dict[str, Any] = {"image_size": (IMAGE_SIZE, IMAGE_SIZE), "batch_size": BATCH_SIZE, "seed": SEED}
    load = keras.utils.image_dataset_from_directory
    train, validation = load(SOURCE, validation_split=0.2, subset="both", **options)
    target = load(TARGET, labels=None, **options)
    # both repeat, so the smaller one does not run out and all batches are full
    full = (each.repeat().rebatch(BATCH_SIZE) for each in (train, target))
    pairs = tf.data.Dataset.zip(*full).map(with_domains).prefetch(2)

    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")  # raw pixels, 0 to 255
    features, backbone = apply_backbone(images)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # keeps its statistics, which are then the same for both domains
    # normalised, because the encoder could otherwise beat the discriminator with features of any size
    features = keras.layers.LayerNormalization()(keras.layers.Dense(256)(features))
    encoder = keras.Model(images, features)
    head = keras.layers.Dense(len(train.class_names), activation="softmax", name="head")
    reverse, hidden = ReverseGradient(), keras.layers.Dense(256, activation="relu")
    discriminator = keras.Sequential([reverse, hidden, keras.layers.Dense(1, activation="sigmoid")])

    both = {name: keras.Input(images.shape[1:], name=name) for name in ("source", "target")}
    encoded = {name: encoder(x) for name, x in both.items()}
    domains = {f"{name}_domain": discriminator(x) for name, x in encoded.items()}
    model = keras.Model(both, {"classes": head(encoded["source"]), **domains})
    model.compile(
        # not Adam, which would enlarge the reversed gradient once the gradient of the classes is small
        keras.optimizers.SGD(LEARNING_RATE, momentum=0.9),
        loss={"classes": "sparse_categorical_crossentropy", **dict.fromkeys(domains, "binary_crossentropy")},
        loss_weights={"classes": 1.0, **dict.fromkeys(domains, 0.5)},
        metrics=dict.fromkeys(["classes", *domains], "accuracy"),  # domains near 0.5 are indistinguishable
    )

    def set_strength(epoch: int, logs: Any = None) -> None:
        # rises from 0, because the discriminator is random at first, to STRENGTH, as in the paper
        reverse.strength.assign(STRENGTH * (2 / (1 + math.exp(-10 * epoch / EPOCHS)) - 1))

    schedule = keras.callbacks.LambdaCallback(on_epoch_begin=set_strength)
    steps = max(len(train), len(target))
    model.fit(pairs, epochs=EPOCHS, steps_per_epoch=steps, callbacks=[schedule], verbose=2)

    classifier = keras.Model(images, head(encoder(images)))
    classifier.save(OUT)
    Path(OUT).with_suffix(".classes.json").write_text(json.dumps(train.class_names), "utf-8")
    report(classifier, validation, target, train.class_names)


if __name__ == "__main__":
    predict(sys.argv[1]) if len(sys.argv) > 1 else main()  # `python THIS_FILE image.jpg` predicts
