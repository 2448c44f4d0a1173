"""MixStyle: mix the statistics of feature maps between the images of a batch."""

from typing import Any

import keras
from keras import ops

from tlkit.backbones.stages import stages
from tlkit.backbones.structure import children, functional, only_model
from tlkit.techniques.domain_generalization.training import ERM
from tlkit.techniques.learners import Configured

EPSILON = 1e-6  # is added to the variance


class MixStyle(Configured, keras.layers.Layer):
    """Mix the mean and standard deviation of each channel between the images of a batch, in training only.

    These statistics mostly reflect the style of an image, which differs between domains. With x of one image,
    and mean' and std' those of another image of the batch, of any domain:

        y = (l std + (1 - l) std') (x - mean) / std + l mean + (1 - l) mean',  l ~ Beta(alpha, alpha)

    In prediction, it is the identity. Zhou et al. 2021, "Domain Generalization with MixStyle".

    Args:
        alpha: of the Beta distribution, above 0. If it is small, l is usually near 0 or 1.
        probability: that a batch is mixed, 0 to 1.
        seed: of the random numbers; None for a random one.

    Input: feature maps `(n, h, w, c)` or tokens `(n, t, d)`. The output has the same shape.
    """

    def __init__(
        self, alpha: float = 0.1, probability: float = 0.5, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.alpha, self.probability, self.seed = alpha, probability, seed
        self.random = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        mean, variance = ops.moments(x, tuple(range(1, len(x.shape) - 1)), keepdims=True)
        mean, std = map(ops.stop_gradient, (mean, ops.sqrt(variance + EPSILON)))
        statistics = ops.concatenate([mean, std], axis=-1)
        others = keras.random.shuffle(statistics, seed=self.random)
        shape = (ops.shape(x)[0], *[1] * (len(x.shape) - 1))
        part = keras.random.beta(shape, self.alpha, self.alpha, dtype=x.dtype, seed=self.random)
        new_mean, new_std = ops.split(part * statistics + (1 - part) * others, 2, axis=-1)
        mixed = new_std * (x - mean) / std + new_mean
        return ops.where(keras.random.uniform((), seed=self.random) < self.probability, mixed, x)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


class MixStyleTraining(ERM):
    """Train with `MixStyle` behind the first stages of the network.

    Zhou et al. 2021, "Domain Generalization with MixStyle".

    Args:
        alpha, probability: see `MixStyle`.
        places: number of stages behind which there is a `MixStyle` layer, at least 1.
    """

    def __init__(self, alpha: float = 0.1, probability: float = 0.5, places: int = 2) -> None:
        self.alpha, self.probability, self.places = alpha, probability, places

    def learner(self, network: keras.Model, domains: int) -> keras.Model:
        return with_mixstyle(network, self.places, alpha=self.alpha, probability=self.probability)


def with_mixstyle(network: keras.Model, places: int = 2, **options: Any) -> keras.Model:
    """Return a network with `MixStyle` layers behind its first stages; all other layers are shared.

    If the network takes stored activations of frozen stages instead of RGB images, the first layer is applied
    to its input. Training the result trains the network; the network itself is not given these layers.

    Args:
        network: a functional or `Sequential` model whose stages have feature maps or tokens as outputs.
        places: number of layers, at least 1; fewer are inserted if the network has fewer stages.
        options: of `MixStyle`.

    >>> import tlkit
    >>> mixed = with_mixstyle(tlkit.build_classifier("LeNet", classes=10, weights=None))
    >>> [layer.name for layer in mixed.get_layer("LeNet").layers if isinstance(layer, MixStyle)]
    ['mixstyle_1', 'mixstyle_2']
    """
    whole = functional(network)
    entry = whole.inputs[0].shape
    inside = len(entry) > 2 and entry[-1] != 3
    body = whole
    while inner := only_model(body) or _largest_model(body):
        body = functional(getattr(inner, "operation", inner))
    maps = [[each for each in layers if len(each.output.shape) > 2] for layers in stages(body).values()]
    ends = [layers[-1] for layers in maps if layers]
    chosen = {id(layer) for layer in ends[: places - inside]}
    count = iter(range(1 + inside, places + 1))

    def shared(layer: keras.Layer) -> keras.Layer:
        within = isinstance(layer, keras.Model) and chosen & {id(each) for each in _all_layers(layer)}
        return inserted(layer) if within else layer

    def call(layer: Any, *arguments: Any, **settings: Any) -> Any:
        x = layer(*arguments, **settings)
        return MixStyle(name=f"mixstyle_{next(count)}", **options)(x) if id(layer) in chosen else x

    def inserted(model: keras.Model) -> keras.Model:
        return keras.models.clone_model(functional(model), clone_function=shared, call_function=call)

    mixed = inserted(whole)
    if not inside:
        return mixed
    x = keras.Input(entry[1:], dtype=whole.inputs[0].dtype)
    return keras.Model(x, mixed(MixStyle(name="mixstyle_1", **options)(x)), name=network.name)


def _largest_model(network: keras.Model) -> keras.Model | None:
    """Return the inner model of images with the most layers; None if there is none."""
    found = [
        each
        for each in network.layers
        if isinstance(each, keras.Model) and each.weights and len(each.inputs[0].shape) == 4
    ]
    return max(found, key=lambda each: len(each.layers), default=None)


def _all_layers(layer: keras.Layer) -> list[keras.Layer]:
    return [layer, *(inner for each in children(layer) for inner in _all_layers(each))]
