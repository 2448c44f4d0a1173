"""Pretext tasks: labels made from the images themselves, which only meaningful features can predict."""

from typing import Any

import keras
from keras import ops

from tlkit.errors import TlkitError
from tlkit.techniques.self_supervised.objective import Objective
from tlkit.techniques.self_supervised.views import random_views

TURNS = 4


@keras.saving.register_keras_serializable("tlkit")
class Rotation(Objective):
    """Predict by how many quarter turns an image was rotated; the history gets `rotation_accuracy`.

    Gidaris, Singh & Komodakis 2018, "Unsupervised Representation Learning by Predicting Image Rotations".

    Args:
        views: a layer that augments images at random before the rotation; `random_views()` by default.

    Raises:
        TlkitError: the images of the backbone are not square (raised by `SelfSupervised`).
    """

    measures = ("rotation_accuracy",)

    def __init__(self, views: keras.Layer | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.views = random_views() if views is None else views

    def prepare(self, backbone: keras.Model) -> None:
        height, width = backbone.inputs[0].shape[1:3]
        if height != width:
            raise TlkitError(
                f"{backbone.name} takes images of {height} x {width} pixels, but rotated images only fit if "
                "they are square. Build the backbone for square images, such as "
                "tlkit.load_backbone(name, image_size=64), or use another method."
            )
        super().prepare(backbone)
        self.head = keras.Sequential(
            [keras.Input(self.encoder.output_shape[1:]), keras.layers.Dense(TURNS, dtype="float32")],
            name="turns",
        )

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        pixels = self.views(ops.cast(images, "float32"), training=True)
        rotated, turns = quarter_turns(pixels)
        logits = self.head(self.encoder(rotated, training=training))
        correct = ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), turns)
        return {
            "loss": ops.mean(ops.sparse_categorical_crossentropy(turns, logits, from_logits=True)),
            "rotation_accuracy": ops.mean(ops.cast(correct, "float32")),
        }


def quarter_turns(images: Any) -> tuple[Any, Any]:
    """Rotate square images by 0, 1, 2 and 3 quarter turns, and return the number of turns as labels.

    Args:
        images: `(n, size, size, channels)`.

    Returns:
        Images `(4n, size, size, channels)`, rotated counter-clockwise: first all images without a turn, then
        all with one turn, and so on; and the number of turns, int32 `(4n,)`.

    >>> rotated, turns = quarter_turns(ops.zeros((2, 8, 8, 3)))
    >>> rotated.shape[0], ops.convert_to_numpy(turns).tolist()
    (8, [0, 0, 1, 1, 2, 2, 3, 3])
    """
    rotated = [ops.rot90(images, k=turns, axes=(1, 2)) for turns in range(TURNS)]
    return ops.concatenate(rotated), ops.repeat(ops.arange(TURNS, dtype="int32"), ops.shape(images)[0])
