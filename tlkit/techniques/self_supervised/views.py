"""Random views of images: augmentation that changes an image but not what it shows."""

import keras


def random_views(
    *, crop: float = 0.5, turn: float = 0.05, colour: float = 0.5, grey: float = 0.2, flip: bool = True
) -> keras.Sequential:
    """Build the random augmentation that makes views of an image for self-supervised learning.

    A network that must match two views keeps the properties that both views have in common, and discards the
    properties that the augmentation changes. Without colour changes, for example, the network could match
    views by colour alone (Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual
    Representations", section 3).

    Args:
        crop: maximum fraction of height and width to cut off, 0 to 0.9; the rest is enlarged to full size.
        turn: maximum rotation in both directions, as a fraction of a full turn.
        colour: strength of the changes of brightness, contrast, saturation and hue, 0 (none) to 1.
        grey: fraction of the images that are converted to grey, 0 to 1.
        flip: mirror half of the images left to right; unsuitable for digits and letters.

    Returns:
        A layer from images `(n, height, width, 3)`, values 0 to 255, to float32 images of the same shape and
        range. It is active only with `training=True`. Other augmentation layers can replace it, such as
        `keras.layers.RandAugment`, or the layers of keras_cv that TensorFlow can trace (RandomCropAndResize,
        RandomColorJitter, RandomCutout; but not its RandAugment, AugMix and RandomApply).

    >>> views = random_views(flip=False)
    >>> tuple(views(keras.ops.zeros((2, 28, 28, 3)), training=True).shape)
    (2, 28, 28, 3)
    """
    # float32 also under mixed precision, whose resolution is too coarse for 256 pixel values
    geometry = {"fill_mode": "nearest", "dtype": "float32"}
    pixels = {"value_range": (0, 255), "dtype": "float32"}
    layers: list[keras.Layer] = []
    if flip:
        layers.append(keras.layers.RandomFlip("horizontal", dtype="float32"))
    if turn:
        layers.append(keras.layers.RandomRotation(turn, **geometry))
    if crop:  # shifts by at most half of the cropped fraction keep most crops inside the image
        layers.append(keras.layers.RandomTranslation(crop / 2, crop / 2, **geometry))
        layers.append(keras.layers.RandomZoom((-crop, 0.0), **geometry))
    if colour:
        layers.append(keras.layers.RandomBrightness(0.4 * colour, **pixels))
        layers.append(keras.layers.RandomContrast(0.8 * colour, **pixels))
        # a factor of 0.5 does not change the saturation
        layers.append(keras.layers.RandomSaturation((0.5 - 0.4 * colour, 0.5 + 0.4 * colour), **pixels))
        layers.append(keras.layers.RandomHue(0.2 * colour, **pixels))
    if grey:
        layers.append(keras.layers.RandomGrayscale(grey, dtype="float32"))
    return keras.Sequential(layers, name="views")
