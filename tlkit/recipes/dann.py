"""DANN: adapt to unlabelled images by features that hide their domain.

The discriminator learns to name the domain of a feature vector; its gradient is reversed on the way into
the encoder, which so learns to hide it. Judge the result on a few labelled target images: the accuracy on
the source says nothing about the target.

Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks".
"""

import math
from typing import Any

import keras
import tensorflow as tf  # reads the images; Keras may train on any backend
from keras import ops

SOURCE = "path/of/labelled"  # one sub-folder a class
TARGET = "path/of/other/kind"  # images only, at any depth
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None: random
IMAGE_SIZE = 224
BATCH_SIZE = 32  # of each domain
EPOCHS = 20
LEARNING_RATE = 3e-3
STRENGTH = 0.3  # of the reversed gradient in the end; 1, as in the paper, swings more
SEED = 0


def reverse_gradient(x: Any, strength: Any) -> Any:
    """Return `x` itself, with a gradient that is `-strength` times the one that arrives."""
    return -strength * x + ops.stop_gradient((1.0 + strength) * x)


class ReverseGradient(keras.layers.Layer):
    """`reverse_gradient` with a strength that a callback may change."""

    def build(self, shape: Any) -> None:
        self.strength = self.add_weight(shape=(), initializer="zeros", trainable=False, name="strength")

    def call(self, x: Any) -> Any:
        return reverse_gradient(x, self.strength)


def with_domains(source: Any, target: Any) -> tuple[dict, dict]:
    """A batch of both domains, and what the outputs should say: the class; 1 for source, 0 for target."""
    domains = {"source_domain": tf.ones((BATCH_SIZE, 1)), "target_domain": tf.zeros((BATCH_SIZE, 1))}
    return {"source": source[0], "target": target}, {"classes": source[1], **domains}


def main() -> None:
    """Train on both domains at once, and keep the classifier."""
    keras.utils.set_random_seed(SEED)
    options: dict[str, Any] = {"image_size": (IMAGE_SIZE, IMAGE_SIZE), "batch_size": BATCH_SIZE, "seed": SEED}
    read = keras.utils.image_dataset_from_directory
    train, validation = read(SOURCE, validation_split=0.2, subset="both", **options)
    target = read(TARGET, labels=None, **options)
    # both repeat, so that the smaller one lasts and every batch is full
    full = (each.repeat().rebatch(BATCH_SIZE) for each in (train, target))
    pairs = tf.data.Dataset.zip(*full).map(with_domains).prefetch(2)

    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")  # raw pixels, 0 to 255
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # goes on with the statistics of before, the same for both domains
    # normalised: else the encoder would win against the discriminator by features without bounds
    features = keras.layers.LayerNormalization()(keras.layers.Dense(256)(backbone(PREPROCESS(images))))
    encoder = keras.Model(images, features)
    head = keras.layers.Dense(len(train.class_names), activation="softmax", name="head")
    reverse, hidden = ReverseGradient(), keras.layers.Dense(256, activation="relu")
    discriminator = keras.Sequential([reverse, hidden, keras.layers.Dense(1, activation="sigmoid")])

    both = {name: keras.Input(images.shape[1:], name=name) for name in ("source", "target")}
    encoded = {name: encoder(x) for name, x in both.items()}
    domains = {f"{name}_domain": discriminator(x) for name, x in encoded.items()}
    model = keras.Model(both, {"classes": head(encoded["source"]), **domains})
    model.compile(
        # not Adam: it would make the reversed gradient large again when the classes' has become small
        keras.optimizers.SGD(LEARNING_RATE, momentum=0.9),
        loss={"classes": "sparse_categorical_crossentropy", **dict.fromkeys(domains, "binary_crossentropy")},
        loss_weights={"classes": 1.0, **dict.fromkeys(domains, 0.5)},
        metrics=dict.fromkeys(["classes", *domains], "accuracy"),  # of domains near 0.5: indistinguishable
    )

    def rise(epoch: int, logs: Any = None) -> None:
        # from 0, while the discriminator knows nothing, to full strength, as in the paper
        reverse.strength.assign(STRENGTH * (2 / (1 + math.exp(-10 * epoch / EPOCHS)) - 1))

    rising = keras.callbacks.LambdaCallback(on_epoch_begin=rise)
    steps = max(len(train), len(target))
    model.fit(pairs, epochs=EPOCHS, steps_per_epoch=steps, callbacks=[rising], verbose=2)

    classifier = keras.Model(images, head(encoder(images)))
    classifier.save(OUT)
    classifier.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    _, accuracy = classifier.evaluate(validation, verbose=0)
    print(f"{OUT}: validation accuracy on the source {accuracy:.1%}; classes {', '.join(train.class_names)}")


if __name__ == "__main__":
    main()
