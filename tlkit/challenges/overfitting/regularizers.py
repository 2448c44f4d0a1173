"""The table of regularisers: the same three steps apply, train and finish each of them."""

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
    """A method that reduces overfitting during fine-tuning.

    Attributes:
        name: name in the table.
        summary: what the method does, in one line.
        paper: the source.
        apply: function of the model, the training split, the validation split and options; it returns the
            learner, the model to train, which shares its weights with the model.
        training: function that returns options for `tlkit.fine_tune`, and `mix` for `Split.batches`.
        finish: function of the weights before training and of the trained model; it returns a plain Keras
            model.
    """

    name: str
    summary: str
    paper: str
    apply: Callable[..., keras.Model] = lambda model, train, validation: model
    training: Callable[[], Mapping[str, Any]] = dict
    finish: Callable[[Sequence[np.ndarray], keras.Model], keras.Model] = lambda start, model: model

    def fine_tune(
        self,
        model: keras.Model,
        train: Split,
        validation_data: Split | None = None,
        *,
        regularizer_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> tuple[keras.Model, keras.callbacks.History]:
        """Fine-tune a classifier with this regulariser.

        Args:
            model: a classifier made by `build_classifier`; it is trained in place.
            train, validation_data: splits. Training stops early only with validation data.
            regularizer_options: options of the regulariser, such as `{"strength": 0.01}`.
            options: options of `tlkit.fine_tune`; they override those of the regulariser.

        Returns:
            A plain Keras model and Keras's history. The model is `model` itself, except for `wise-ft` and
            `lora`.

        >>> from tlkit.models import build_classifier
        >>> model = build_classifier("LeNet", classes=2, weights=None)
        >>> split = Split(np.zeros((4, 28, 28, 3), "uint8"), [0, 1, 0, 1])
        >>> trained, history = REGULARIZERS.find("bss").fine_tune(model, split, epochs=1)
        >>> trained is model
        True
        """
        start = model.get_weights()
        learner = self.apply(model, train, validation_data, **(regularizer_options or {}))
        training = {**self.training(), **options}
        if "learning_rate" in options and "optimizer" in self.training():
            training["optimizer"] = partial(
                training["optimizer"], learning_rate=training.pop("learning_rate")
            )
        data: Any = train
        if mix := training.pop("mix", None):
            size, classes = training.get("batch_size", BATCH_SIZE), model.output_shape[-1]
            data = train.batches(size, shuffle=True, mix=mix, classes=classes)
        history = fine_tune(learner, data, validation_data, **training)
        return self.finish(start, model), history


def _without_splits(method: Callable[..., Any]) -> Callable[..., keras.Model]:
    """Wrap `method(model, **options)` so that it also accepts the training and validation splits."""

    def apply(model: keras.Model, train: Split, validation: Split | None, **options: Any) -> keras.Model:
        made = method(model, **options)
        return made if isinstance(made, keras.Model) else model

    return apply


def _head_first(model: keras.Model, train: Split, validation: Split | None, **options: Any) -> keras.Model:
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
        Regularizer("none", "plain fine-tuning, as a control", "Yosinski et al. 2014"),
        Regularizer(
            "dropout",
            "random features are set to 0 before the last layer",
            "Srivastava et al. 2014",
            _without_splits(with_dropout),
        ),
        Regularizer(
            "weight-decay",
            "every step shrinks the weights slightly",
            "Loshchilov & Hutter 2019",
            training=lambda: {"optimizer": partial(optimizers.adam, weight_decay=0.05)},
        ),
        Regularizer(
            "label-smoothing",
            "labels have a probability slightly below 1",
            "Szegedy et al. 2016",
            training=lambda: {"loss": keras.losses.CategoricalCrossentropy(label_smoothing=0.1)},
        ),
        Regularizer(
            "mixup",
            "two images and their labels are blended",
            "Zhang et al. 2018",
            training=lambda: {"mix": mixup()},
        ),
        Regularizer(
            "cutmix",
            "a rectangle of another image is pasted in",
            "Yun et al. 2019",
            training=lambda: {"mix": cutmix()},
        ),
        Regularizer("augmentation", "images are transformed at random", "Simard et al. 2003", _augmented),
        Regularizer(
            "stochastic-depth",
            "random residual branches are skipped",
            "Huang et al. 2016",
            _without_splits(stochastic_depth),
        ),
        Regularizer(
            "l2-sp",
            "weights are kept near their pretrained values",
            "Li et al. 2018",
            _without_splits(keep_near_start),
        ),
        Regularizer(
            "delta",
            "feature maps are kept near the pretrained ones, weighted by channel",
            "Li et al. 2019",
            _delta,
        ),
        Regularizer(
            "delta-uniform",
            "DELTA with equal weights for all channels",
            "Li et al. 2019",
            _without_splits(DELTA),
        ),
        Regularizer(
            "bss",
            "the smallest singular values of the features are penalised",
            "Chen et al. 2019",
            _without_splits(BSS),
        ),
        Regularizer(
            "stochnorm",
            "random channels are normalised with moving statistics",
            "Kou et al. 2020",
            _without_splits(stoch_norm),
        ),
        Regularizer("co-tuning", "the source head is fine-tuned as well", "You et al. 2020", _co_tuning),
        Regularizer(
            "ema",
            "the weights are averaged over the steps",
            "Polyak & Juditsky 1992",
            training=lambda: {"optimizer": partial(optimizers.adam, use_ema=True, ema_momentum=0.95)},
        ),
        Regularizer(
            "wise-ft",
            "the mean of the weights before and after fine-tuning",
            "Wortsman et al. 2022",
            finish=_between,
        ),
        Regularizer(
            "lp-ft", "the head is trained before the whole network", "Kumar et al. 2022", _head_first
        ),
        Regularizer(
            "lora",
            "only low-rank changes of the weights are trained",
            "Hu et al. 2022",
            _without_splits(enable_lora),
            finish=_merged,
        ),
    ),
)
