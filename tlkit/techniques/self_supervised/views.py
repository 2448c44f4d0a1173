"""What may change in an image without making it another one: the views that a network learns to match."""

import keras


def random_views(
    *, crop: float = 0.5, turn: float = 0.05, colour: float = 0.5, grey: float = 0.2, flip: bool = True
) -> keras.Sequential:
    """Build the random changes of which two views of an image are drawn.

    A network that must match two views learns what they share and forgets what changes between them. So
    the changes say what does not matter: without those of colour, colour alone would do to match
    (Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", section 3).

    Args:
        crop: up to this share of height and width is cut off, 0 to 0.9; the rest is enlarged to full size.
        turn: up to this share of a full turn, to both sides.
        colour: strength of the changes of brightness, contrast, saturation and hue, 0 to 1; 0 for none.
        grey: share of the images that lose their colour, 0 to 1.
        flip: mirror half of the images left to right; wrong for digits and letters.

    Returns:
        A layer from images `(n, height, width, 3)`, values 0 to 255, to float32 images of the same shape and
        range; active with `training=True` alone. Any other layer that does this may take its place, such as
        `keras.layers.RandAugment`, or of keras_cv those that TensorFlow can trace (RandomCropAndResize,
        RandomColorJitter, RandomCutout; not its RandAugment, AugMix and RandomApply).

    >>> views = random_views(flip=False)
    >>> tuple(views(keras.ops.zeros((2, 28, 28, 3)), training=True).shape)
    (2, 28, 28, 3)
    """
    # float32 also under mixed precision, whose numbers are too coarse for 256 grey levels
    same = {"fill_mode": "nearest", "dtype": "float32"}
    pixels = {"value_range": (0, 255), "dtype": "float32"}
    layers: list[keras.Layer] = []
    if flip:
        layers.append(keras.layers.RandomFlip("horizontal", dtype="float32"))
    if turn:
        layers.append(keras.layers.RandomRotation(turn, **same))
    if crop:  # moved by half of what is cut off, most crops lie within the image
        layers.append(keras.layers.RandomTranslation(crop / 2, crop / 2, **same))
        layers.append(keras.layers.RandomZoom((-crop, 0.0), **same))
    if colour:
        layers.append(keras.layers.RandomBrightness(0.4 * colour, **pixels))
        layers.append(keras.layers.RandomContrast(0.8 * colour, **pixels))
        # 0.5 leaves the saturation as it is
        layers.append(keras.layers.RandomSaturation((0.5 - 0.4 * colour, 0.5 + 0.4 * colour), **pixels))
        layers.append(keras.layers.RandomHue(0.2 * colour, **pixels))
    if grey:
        layers.append(keras.layers.RandomGrayscale(grey, dtype="float32"))
    return keras.Sequential(layers, name="views")
