"""DANN and Deep CORAL by ADAPT 0.4.5, as its documentation uses it, on the network of `sides.py`.

    .peers/adapt/bin/python peers/adapt_library.py METHOD GIVEN EPOCHS

de Mathelin et al. 2021, "ADAPT: Awesome Domain Adaptation Python Toolbox".
"""

import os
import sys
import time
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import adapt.feature_based
import numpy as np
import tensorflow as tf
from measuring import serve

layers = tf.keras.layers
BATCH, LEARNING_RATE = 64, 1e-3
NAMES = {"dann": "DANN", "coral": "DeepCORAL"}


def parts(shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """Build encoder, classifier and discriminator."""
    if len(shape) == 3:
        convolutions = [
            layer
            for filters in (32, 48)
            for layer in (
                layers.Conv2D(filters, 5, padding="same", activation="relu"),
                layers.MaxPooling2D(),
            )
        ]
        dense = [layers.Dense(100, activation="relu") for _ in range(2)]
        body = [*convolutions, layers.Flatten(), *dense]
    else:
        body = [layers.Dense(256, use_bias=False), layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    return {
        "encoder": tf.keras.Sequential([tf.keras.Input(shape), *body]),
        "task": tf.keras.Sequential([layers.Dense(classes, activation="softmax")]),
        "discriminator": tf.keras.Sequential(
            [layers.Dense(100, activation="relu"), layers.Dense(1, activation="sigmoid")]
        ),
    }


def main(method: str, given: str, epochs: str) -> None:
    with np.load(given) as file:
        xs, ys, xt, yt = (file[name] for name in ("xs", "ys", "xt", "yt"))
    if xs.ndim == 4:
        xs, xt = (x.astype("float32") / 255 for x in (xs, xt))
    labels = tf.keras.utils.to_categorical(ys)
    built = parts(xs.shape[1:], labels.shape[1])
    if method != "dann":
        del built["discriminator"]
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE)
    options = {"loss": "categorical_crossentropy", "optimizer": optimizer, "copy": False, "verbose": 0}
    model = getattr(adapt.feature_based, NAMES[method])(**built, Xt=xt, **options)
    seeds = iter(range(10**6))

    def job() -> dict[str, float]:
        tf.keras.utils.set_random_seed(next(seeds))
        for part in built.values():
            if part.built:  # its graph stays, as on the other sides; the weights are new
                part.set_weights(tf.keras.models.clone_model(part).get_weights())
        for variable in optimizer.variables:
            if variable is not optimizer.learning_rate:
                variable.assign(tf.zeros_like(variable))
        ends: list[float] = []
        watch = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
        model.fit(xs, labels, epochs=int(epochs), batch_size=BATCH, verbose=0, callbacks=[watch])
        found = np.asarray(model.predict(xt, verbose=0)).argmax(axis=1)
        return {"value": float(np.diff(ends).mean()), "accuracy": 100 * float(np.mean(found == yt))}

    serve(job)


if __name__ == "__main__":
    main(*sys.argv[1:])
