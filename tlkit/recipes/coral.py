"""Deep CORAL: adapt to unlabelled images by matching feature covariances.

The training is simpler and more stable than adversarial training. Evaluate the result on a few labelled
target images, because the accuracy on the source says nothing about the target.

Sun & Saenko 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation".
"""

from typing import Any

import keras
import tensorflow as tf  # reads the images; Keras may train on any backend
from keras import ops

SOURCE = "path/of/labelled"  # one sub-folder for each class
TARGET = "path/of/other/kind"  # only images, at any depth
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
IMAGE_SIZE = 224
BATCH_SIZE = 32  # of each domain
EPOCHS = 20
LEARNING_RATE = 1e-4
WEIGHT = 1.0  # of the distance; the weighted distance should end about as large as the classification loss
SEED = 0


def covariance(x: Any) -> Any:
    """Return the covariance matrix `(d, d)` of features `(n, d)`, with n at least 2."""
    centred = x - ops.mean(x, axis=0)
    return ops.matmul(ops.transpose(centred), centred) / ops.cast(ops.shape(x)[0] - 1, x.dtype)


def coral(source: Any, target: Any) -> Any:
    """Return the distance `|C_s - C_t|_F^2 / (4 d^2)` between covariances of features `(n, d)`, `(m, d)`."""
    difference = covariance(source) - covariance(target)
    return ops.sum(ops.square(difference)) / (4 * source.shape[-1] ** 2)


class Coral(keras.layers.Layer):
    """Add the weighted distance to the loss, report it in every epoch, and return the source features."""

    def __init__(self) -> None:
        super().__init__()
        self.distance = keras.metrics.Mean("coral")

    def call(self, source: Any, target: Any) -> Any:
        distance = WEIGHT * coral(source, target)
        self.distance.update_state(distance)
        self.add_loss(distance)
        return source


def main() -> None:
    """Train on both domains at once, and save the classifier."""
    keras.utils.set_random_seed(SEED)
    options: dict[str, Any] = {"image_size": (IMAGE_SIZE, IMAGE_SIZE), "batch_size": BATCH_SIZE, "seed": SEED}
    load = keras.utils.image_dataset_from_directory
    train, validation = load(SOURCE, validation_split=0.2, subset="both", **options)
    target = load(TARGET, labels=None, **options)
    # both repeat, so the smaller one does not run out and all batches are full: one image has no covariance
    full = (each.repeat().rebatch(BATCH_SIZE) for each in (train, target))
    pairs = tf.data.Dataset.zip(*full).map(lambda s, t: ({"source": s[0], "target": t}, s[1])).prefetch(2)

    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")  # raw pixels, 0 to 255
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # keeps its statistics, which are then the same for both domains
    features = backbone(PREPROCESS(images))
    encoder = keras.Model(images, keras.layers.Dense(256, activation="relu")(features))
    head = keras.layers.Dense(len(train.class_names), activation="softmax", name="head")

    both = {name: keras.Input(images.shape[1:], name=name) for name in ("source", "target")}
    model = keras.Model(both, head(Coral()(encoder(both["source"]), encoder(both["target"]))))
    settings: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    model.compile(keras.optimizers.Adam(LEARNING_RATE), **settings)
    model.fit(pairs, epochs=EPOCHS, steps_per_epoch=max(len(train), len(target)), verbose=2)

    classifier = keras.Model(images, head(encoder(images)))
    classifier.save(OUT)
    classifier.compile(**settings)
    _, accuracy = classifier.evaluate(validation, verbose=0)
    print(f"{OUT}: validation accuracy on the source {accuracy:.1%}; classes {', '.join(train.class_names)}")


if __name__ == "__main__":
    main()
