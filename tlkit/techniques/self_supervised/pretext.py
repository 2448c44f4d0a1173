"""A made-up task with free labels, solved only by knowing what is in the images."""

from typing import Any

import keras
from keras import ops

from tlkit.errors import TlkitError
from tlkit.techniques.self_supervised.objective import Objective
from tlkit.techniques.self_supervised.views import random_views

TURNS = 4


@keras.saving.register_keras_serializable("tlkit")
class Rotation(Objective):
    """Tell by how many quarter turns an image was turned. Its accuracy stands in the history.

    Gidaris, Singh & Komodakis 2018, "Unsupervised Representation Learning by Predicting Image Rotations".

    Args:
        views: a layer that changes images at random before they are turned; `random_views()` by default.
    """

    measures = ("rotation_accuracy",)

    def __init__(self, views: keras.Layer | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.views = random_views() if views is None else views

    def prepare(self, backbone: keras.Model) -> None:
        height, width = backbone.inputs[0].shape[1:3]
        if height != width:
            raise TlkitError(
                f"{backbone.name} takes images of {height} x {width} pixels, which do not fit when "
                "turned. Build it for square ones, tlkit.load_backbone(name, image_size=64), or take another "
                "method."
            )
        super().prepare(backbone)
        self.head = keras.Sequential(
            [keras.Input(self.encoder.output_shape[1:]), keras.layers.Dense(TURNS, dtype="float32")],
            name="turns",
        )

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        pixels = self.views(ops.cast(images, "float32"), training=True)
        turned, turns = quarter_turns(pixels)
        logits = self.head(self.encoder(turned, training=training))
        right = ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), turns)
        return {
            "loss": ops.mean(ops.sparse_categorical_crossentropy(turns, logits, from_logits=True)),
            "rotation_accuracy": ops.mean(ops.cast(right, "float32")),
        }


def quarter_turns(images: Any) -> tuple[Any, Any]:
    """Return square images in all four positions, and by how many quarter turns each is turned.

    Args:
        images: `(n, size, size, channels)`.

    Returns:
        Images `(4n, size, size, channels)`, counter-clockwise: first all as they are, then all turned once,
        and so on; and int32 `(4n,)`.

    >>> turned, turns = quarter_turns(ops.zeros((2, 8, 8, 3)))
    >>> turned.shape[0], ops.convert_to_numpy(turns).tolist()
    (8, [0, 0, 1, 1, 2, 2, 3, 3])
    """
    turned = [ops.rot90(images, k=turns, axes=(1, 2)) for turns in range(TURNS)]
    return ops.concatenate(turned), ops.repeat(ops.arange(TURNS, dtype="int32"), ops.shape(images)[0])
