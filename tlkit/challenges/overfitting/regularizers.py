"""All regularisers in one table: each is put on, trained with and taken off in the same way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkit import backbones, optimizers
from tlkit._internal.registry import Registry
from tlkit.challenges.overfitting.averaging import wise_ft
from tlkit.challenges.overfitting.batch_spectral_shrinkage import BSS
from tlkit.challenges.overfitting.co_tuning import CoTuning, class_relationship
from tlkit.challenges.overfitting.delta import DELTA, channel_attention
from tlkit.challenges.overfitting.l2_sp import keep_near_start
from tlkit.challenges.overfitting.lora import enable_lora, merge_lora
from tlkit.challenges.overfitting.mixing import cutmix, mixup
from tlkit.challenges.overfitting.parts import with_augmentation, with_dropout
from tlkit.challenges.overfitting.stochastic_depth import stochastic_depth
from tlkit.challenges.overfitting.stochastic_normalization import stoch_norm
from tlkit.data import Split
from tlkit.models import augmentation, backbone_of
from tlkit.techniques.feature_extraction import extract, train_head
from tlkit.techniques.fine_tuning import BATCH_SIZE, fine_tune


@dataclass(frozen=True)
class Regularizer:
    """A way to fine-tune with less overfitting.

    Attributes:
        name: in the table.
        summary: what it does, in a line.
        paper: where it is from.
        put_on: model, training and validation split and options to the model that is trained, which shares
            the given one's weights.
        training: makes the options of `fine_tune`; and `mix`, see `Split.batches`.
        take_off: weights before the training and the trained model to a plain Keras model.
    """

    name: str
    summary: str
    paper: str
    put_on: Callable[..., keras.Model] = lambda model, train, validation: model
    training: Callable[[], Mapping[str, Any]] = dict
    take_off: Callable[[Sequence[np.ndarray], keras.Model], keras.Model] = lambda start, model: model

    def fine_tune(
        self,
        model: keras.Model,
        train: Split,
        validation_data: Split | None = None,
        *,
        put_on: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> tuple[keras.Model, keras.callbacks.History]:
        """Fine-tune a classifier with this regulariser.

        Args:
            model: a classifier made by `build_classifier`; it learns in place.
            train, validation_data: splits. Training stops early only with validation data.
            put_on: options of the regulariser, such as `{"strength": 0.01}`.
            options: of `fine_tune`; they come before those of the regulariser.

        Returns:
            A plain Keras model (`model` itself, but for `wise-ft` and `lora`) and Keras's history.

        >>> from tlkit.models import build_classifier
        >>> model = build_classifier("LeNet", classes=2, weights=None)
        >>> split = Split(np.zeros((4, 28, 28, 3), "uint8"), [0, 1, 0, 1])
        >>> trained, history = REGULARIZERS.find("bss").fine_tune(model, split, epochs=1)
        >>> trained is model
        True
        """
        start = model.get_weights()
        learner = self.put_on(model, train, validation_data, **(put_on or {}))
        given = {**self.training(), **options}
        if "learning_rate" in options and "optimizer" in self.training():
            given["optimizer"] = partial(given["optimizer"], learning_rate=given.pop("learning_rate"))
        data: Any = train
        if mix := given.pop("mix", None):
            size, classes = given.get("batch_size", BATCH_SIZE), model.output_shape[-1]
            data = train.batches(size, shuffle=True, mix=mix, classes=classes)
        history = fine_tune(learner, data, validation_data, **given)
        return self.take_off(start, model), history


def _on_model(function: Callable[..., Any]) -> Callable[..., keras.Model]:
    """Return the function of a model and options as one that is given the splits too."""

    def put_on(model: keras.Model, train: Split, validation: Split | None, **options: Any) -> keras.Model:
        made = function(model, **options)
        return made if isinstance(made, keras.Model) else model

    return put_on


def _after_head(model: keras.Model, train: Split, validation: Split | None, **options: Any) -> keras.Model:
    train_head(model, train, validation, **options)
    return model


def _augmented(model: keras.Model, train: Split, validation: Split | None, **options: Any) -> keras.Model:
    return with_augmentation(model, augmentation(**options))


def _delta(model: keras.Model, train: Split, validation: Split | None, **options: Any) -> keras.Model:
    return DELTA(model, **{"attention": channel_attention(model, train), **options})


def _co_tuning(
    model: keras.Model,
    train: Split,
    validation: Split | None,
    *,
    source_head: keras.Model | None = None,
    **options: Any,
) -> keras.Model:
    backbone = backbone_of(model)
    head = source_head or backbones.source_head(backbone.name)
    probabilities = head.predict(extract(backbone, train), verbose=0)
    relationship = class_relationship(probabilities, train.labels, model.output_shape[-1])
    return CoTuning(model, head, relationship, **options)


def _between(start: Sequence[np.ndarray], model: keras.Model) -> keras.Model:
    return wise_ft(start, model)


def _merged(start: Sequence[np.ndarray], model: keras.Model) -> keras.Model:
    return merge_lora(model)


REGULARIZERS = Registry(
    "regulariser",
    (
        Regularizer("none", "plain fine-tuning, to compare with", "Yosinski et al. 2014"),
        Regularizer(
            "dropout", "features of the head are left out", "Srivastava et al. 2014", _on_model(with_dropout)
        ),
        Regularizer(
            "weight-decay",
            "weights shrink a little in every step",
            "Loshchilov & Hutter 2019",
            training=lambda: {"optimizer": partial(optimizers.adam, weight_decay=0.05)},
        ),
        Regularizer(
            "label-smoothing",
            "labels are a little unsure",
            "Szegedy et al. 2016",
            training=lambda: {"loss": keras.losses.CategoricalCrossentropy(label_smoothing=0.1)},
        ),
        Regularizer(
            "mixup", "two images are blended", "Zhang et al. 2018", training=lambda: {"mix": mixup()}
        ),
        Regularizer(
            "cutmix",
            "a piece of another image is pasted in",
            "Yun et al. 2019",
            training=lambda: {"mix": cutmix()},
        ),
        Regularizer("augmentation", "images are changed at random", "Simard et al. 2003", _augmented),
        Regularizer(
            "stochastic-depth",
            "residual blocks are left out",
            "Huang et al. 2016",
            _on_model(stochastic_depth),
        ),
        Regularizer(
            "l2-sp", "weights are pulled to their start", "Li et al. 2018", _on_model(keep_near_start)
        ),
        Regularizer("delta", "feature maps stay near their start, by channel", "Li et al. 2019", _delta),
        Regularizer("delta-uniform", "the same, all channels alike", "Li et al. 2019", _on_model(DELTA)),
        Regularizer(
            "bss", "the weakest directions of the features shrink", "Chen et al. 2019", _on_model(BSS)
        ),
        Regularizer(
            "stochnorm", "some channels take moving statistics", "Kou et al. 2020", _on_model(stoch_norm)
        ),
        Regularizer("co-tuning", "the source head learns from the labels too", "You et al. 2020", _co_tuning),
        Regularizer(
            "ema",
            "the average of the weights is kept",
            "Polyak & Juditsky 1992",
            training=lambda: {"optimizer": partial(optimizers.adam, use_ema=True, ema_momentum=0.95)},
        ),
        Regularizer(
            "wise-ft", "weights half way back to the start", "Wortsman et al. 2022", take_off=_between
        ),
        Regularizer("lp-ft", "the head is trained first, alone", "Kumar et al. 2022", _after_head),
        Regularizer(
            "lora", "only changes of low rank", "Hu et al. 2022", _on_model(enable_lora), take_off=_merged
        ),
    ),
)
