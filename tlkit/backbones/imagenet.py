"""Classify images into the 1,000 classes of ImageNet, without any training.

Keras and NumPy are imported where they are needed, as in `tlkit.backbones.building`.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from tlkit.backbones.building import load_backbone
from tlkit.backbones.source_head import source_head
from tlkit.errors import TlkitError


@cache
def imagenet_classes() -> tuple[str, ...]:
    """Return the English names of the 1,000 ImageNet classes, in the order of a source head's outputs.

    The names are those of `keras.applications`, with spaces instead of underscores. Three names differ,
    because two pairs of classes had the same name: crane (bird), crane (machine), and tank suit.

    Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge".

    >>> imagenet_classes()[281], len(set(imagenet_classes()))
    ('tabby', 1000)
    """
    return tuple((files("tlkit.backbones") / "imagenet_classes.txt").read_text("utf-8").splitlines())


def predict_imagenet(
    images: Any, *, backbone: str = "EfficientNetLite0", top: int = 5
) -> list[list[tuple[str, float]]]:
    """Classify images into the 1,000 ImageNet classes with a pretrained network, without any training.

    Args:
        images: a split; or square RGB images `(n, size, size, 3)`, values 0 to 255. Networks are most
            accurate at the size that they were trained at, 224 pixels for EfficientNetLite0.
        backbone: a name of `tlkit.list_backbones()` with ImageNet weights, except VGG and ConvNeXt, whose
            heads do not take mean features.
        top: number of classes per image, 1 to 1000.

    Returns:
        For each image its most probable classes, as pairs (class name, probability), the most probable first.
        Probabilities are between 0 and 1, and those of all 1,000 classes sum to 1.

    Raises:
        UnknownNameError: no backbone has this name.
        WeightsError: the weights are missing, or the network has no source head; see `source_head`.
        TlkitError: `top` is out of range; the images are not square, or too small for the network.

    >>> from tlkit.data import photos
    >>> predict_imagenet(photos().subset([4]), top=1)[0][0][0]  # a cup of coffee
    'espresso'
    """
    if not 1 <= top <= len(imagenet_classes()):
        raise TlkitError(f"top={top} was given; expected 1 to {len(imagenet_classes())} classes per image.")
    import keras
    import numpy as np

    from tlkit.backbones.engines import infer

    pixels = getattr(images, "images", images)
    head = source_head(backbone)
    network = load_backbone(backbone, image_size=pixels.shape[1])
    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32")(network.output)
    classifier = keras.Model(network.input, head(pooled), name=f"{network.name}_classifier")
    probabilities = infer(classifier, pixels)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [
        [(imagenet_classes()[index], float(row[index])) for index in best]
        for row, best in zip(probabilities, order, strict=True)
    ]
