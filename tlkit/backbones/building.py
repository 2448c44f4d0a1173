"""Build a backbone from its name.

Keras is imported where it is needed, so that listing the backbones stays fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.backbones.registry import BACKBONES
from tlkit.errors import WeightsError

if TYPE_CHECKING:
    import keras


def load_backbone(
    name: str, *, weights: str | Path | None = "imagenet", image_size: int | None = None
) -> keras.Model:
    """Load a pretrained network without its classifier: a flat functional model from images to features.

    Args:
        name: a name of `list_backbones()`; upper and lower case are the same.
        weights: `"imagenet"`; `None` for random values; or the path of a weights file. The file may be a
            `.keras` model (the same backbone, or a classifier that contains it), a `.weights.h5` file, or
            for EfficientNet-Lite a PyTorch `.pth` checkpoint.
        image_size: height and width in pixels; `None` takes the backbone's default.

    Returns:
        A `keras.Model` called `name`. Its input is RGB images `(n, image_size, image_size, 3)`, uint8 or
        float, values 0 to 255. Its output is the last feature map `(n, h, w, c)`; for LeNet and LeNetBN,
        features `(n, 100)`. All its layers are trainable.

    Raises:
        UnknownNameError: no backbone has this name.
        WeightsError: the weights are missing or do not fit.
        TlkitError: the images are too small for this network.

    >>> backbone = load_backbone("LeNet", weights=None)
    >>> backbone.input_shape, backbone.output_shape
    ((None, 28, 28, 3), (None, 100))
    """
    import keras

    from tlkit.backbones import applications, efficientnet_lite, lenet, preprocessing
    from tlkit.backbones import weights as files

    row = BACKBONES.find(name)
    size = row.default_size if image_size is None else image_size
    row.check_size(size)
    imagenet = weights == "imagenet"
    if imagenet and row.weights_file is None:
        raise WeightsError(
            f"There are no ImageNet weights of {row.name}. Use weights=None for random weights."
        )

    pixels = keras.Input((size, size, 3), name="pixels")
    if row.wheel:
        x = preprocessing.preprocess(pixels, row.preprocessing)
        features = efficientnet_lite.efficientnet_lite(x, row.name)
    elif row.name.startswith("LeNet"):
        x = preprocessing.preprocess(pixels, row.preprocessing)
        features = lenet.lenet(x, batch_norm=row.name == "LeNetBN")
    else:
        features = applications.application(pixels, row, "imagenet" if imagenet else None)
    backbone = keras.Model(pixels, features, name=row.name)

    if imagenet and row.wheel:
        files.load_from_wheel(backbone, row)
    elif weights is not None and not imagenet:
        files.load_from_file(backbone, Path(weights).expanduser())
    return backbone
