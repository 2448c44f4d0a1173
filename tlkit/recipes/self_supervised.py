"""SimCLR: pretrain without labels, by matching two random views of each image.

The network learns to ignore what the random views change, so let them change what does not matter in your
images. Use the weights in the other recipes: WEIGHTS = "backbone.weights.h5", with the same BACKBONE.

Chen, Kornblith, Norouzi & Hinton 2020, "A Simple Framework for Contrastive Learning of Visual
Representations".
"""

import math
from typing import Any

import keras
from keras import ops

DATA = "path/of/folder"  # images at any depth, no labels
OUT = "backbone.weights.h5"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = None  # random, no download; or "imagenet", downloaded once; or the path of a weights file
IMAGE_SIZE = 128
BATCH_SIZE = 128  # a larger batch has more negative views, which helps
EPOCHS = 100
LEARNING_RATE = 1e-3
TEMPERATURE = 0.2
FLIP = "horizontal"  # None for digits and letters
SEED = 0


def nt_xent(embeddings: Any, temperature: float) -> Any:
    """Return the NT-Xent loss: the cross-entropy of finding the other view of an image among 2n - 1.

    The logits are cosine similarities divided by the temperature.

    Args:
        embeddings: `(2n, d)`, the first views of n images, then the second views in the same order.
        temperature: above 0; small values give most weight to the most similar negative views.
    """
    n = ops.shape(embeddings)[0] // 2
    unit = ops.normalize(embeddings, axis=-1)
    cosines = ops.matmul(unit, ops.transpose(unit)) / temperature
    others = cosines - 1e9 * ops.eye(2 * n, dtype=cosines.dtype)  # a view is not compared with itself
    partner = ops.concatenate([ops.arange(n) + n, ops.arange(n)])
    return ops.mean(ops.sparse_categorical_crossentropy(partner, others, from_logits=True))


class NTXent(keras.layers.Layer):
    """Add `nt_xent` to the loss."""

    def call(self, embeddings: Any) -> Any:
        self.add_loss(nt_xent(embeddings, TEMPERATURE))
        return embeddings


def random_views() -> keras.Sequential:
    """Return random changes of an image. Without changes of colour, colour alone would identify the image."""
    pixels: dict[str, Any] = {"value_range": (0, 255)}
    return keras.Sequential(
        [
            *([keras.layers.RandomFlip(FLIP)] if FLIP else []),
            keras.layers.RandomTranslation(0.25, 0.25, fill_mode="nearest"),
            keras.layers.RandomZoom((-0.5, 0.0), fill_mode="nearest"),
            keras.layers.RandomBrightness(0.2, **pixels),
            keras.layers.RandomContrast(0.4, **pixels),
            keras.layers.RandomSaturation((0.3, 0.7), **pixels),
            keras.layers.RandomHue(0.1, **pixels),
            keras.layers.RandomGrayscale(0.2),
        ]
    )


def main() -> None:
    """Pretrain, and save the weights of the backbone."""
    keras.utils.set_random_seed(SEED)
    dataset = keras.utils.image_dataset_from_directory(
        DATA, labels=None, image_size=(IMAGE_SIZE, IMAGE_SIZE), batch_size=BATCH_SIZE, seed=SEED
    )
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")  # raw pixels, 0 to 255
    views = random_views()
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    # discarded after pretraining: its output loses information that the features below it retain
    projector = keras.Sequential([keras.layers.Dense(256, activation="relu"), keras.layers.Dense(128)])
    features = backbone(PREPROCESS(ops.concatenate([views(images), views(images)])))
    model = keras.Model(images, NTXent()(projector(features)))
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, EPOCHS * len(dataset))
    model.compile(keras.optimizers.Adam(rate))
    print(f"A network that guesses has a loss of {math.log(2 * BATCH_SIZE - 1):.2f} on full batches")
    model.fit(dataset, epochs=EPOCHS, verbose=2)
    backbone.save_weights(OUT)
    print(f"{OUT}: weights of {backbone.name}")


if __name__ == "__main__":
    main()
