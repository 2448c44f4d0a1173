"""Train the same models on the same batches in the way that is named.

`one` process, `devices` of JAX, `workers` of TensorFlow, or one process in `bfloat16`.

    python jobs.py HOW OUT [JOB ...]

OUT gets the weights of each job as one row, where they started and where they ended.
"""

import contextlib
import runpy
import sys
from pathlib import Path

BATCH = 16


def main(how, out, *chosen):
    import keras
    import numpy as np

    import tlkit
    from tlkit.data import Split
    from tlkit.errors import TlkitError
    from tlkit.models import normalizations
    from tlkit.techniques import fine_tuning
    from tlkit.techniques.domain_adaptation import DANN

    scope, found, shares = contextlib.nullcontext, {}, []
    if how == "workers":
        from tlkit.recipes import RECIPES

        strategy = runpy.run_path(str(RECIPES.find("many-workers").path))["Workers"]()
        scope = strategy.scope
    if how == "devices":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    if how == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
        fine_tuning.has_accelerator = lambda: True  # so that batches are put on the device ahead

    class Look(keras.layers.Layer):
        """Passes images on, and notes how a batch lies on the devices while the step is compiled."""

        def call(self, images):
            import jax

            def note(sharding):
                shares.append((len(sharding.device_set), *sharding.shard_shape(images.shape)))

            if images.shape[0] == BATCH:
                jax.debug.inspect_array_sharding(images, callback=note)
            return images

    images = np.random.default_rng(0).integers(0, 255, (52, 28, 28, 3)).astype("uint8")
    labels = np.arange(len(images)) % 4
    # devices take whole batches alone, workers also the half of a last one that is not full
    rest = Split(images, labels) if keras.backend.backend() == "tensorflow" else None
    split = Split(images[: 3 * BATCH], labels[: 3 * BATCH])
    judged = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    options = {"epochs": 2, "batch_size": BATCH}

    def lenet():
        """LeNet, smaller and smooth: at a kink or a maximum a rounding error would grow to a real one."""
        images = keras.Input((28, 28, 3))
        x = keras.layers.Rescaling(1 / 255)(images)
        for i, filters in enumerate((8, 16), start=1):
            x = keras.layers.Conv2D(filters, 5, 2, activation="tanh", name=f"conv{i}")(x)
        x = keras.layers.Dense(32, activation="tanh", name="dense1")(keras.layers.Flatten()(x))
        return keras.Model(images, x, name="LeNet")

    def classifier(**more):
        keras.utils.set_random_seed(0)
        return tlkit.build_classifier(lenet(), 4, dropout=0.0, **more)

    def fit(model):
        model.compile(keras.optimizers.SGD(0.2), **judged)
        shown = rest or split
        return model.fit(shown.images, shown.labels, verbose=0, **options)

    def fine_tune(model):
        return tlkit.fine_tune(model, split, split, from_stage="conv2", learning_rate=3e-3, **options)

    def train_head(model):
        return tlkit.train_head(model, split, split, engine="predict", **options)

    def adapt(model):
        adapter = tlkit.DomainAdapter(model, DANN())
        adapter.compile(keras.optimizers.SGD(0.2), **judged)
        return adapter.fit(tlkit.pair(split, 255 - split.images, batch_size=BATCH), epochs=2, verbose=0)

    def with_frozen_statistics(model):
        for layer in normalizations(model):
            layer.trainable = False
        return fit(model)

    jobs = {
        "fit": (fit, {"augmentation": Look()} if how == "devices" else {}),
        "fine_tune": (fine_tune, {}),
        "train_head": (train_head, {}),
        "adapt": (adapt, {}),
        "frozen_statistics": (with_frozen_statistics, {"bottleneck": 8}),
        "statistics": (fit, {"bottleneck": 8}),
    }
    if keras.backend.backend() == "jax":
        del jobs["frozen_statistics"]  # they are equal even where they learn
    for name in chosen or jobs:
        train, more = jobs[name]
        with scope():
            model = classifier(**more)
            before = np.concatenate([np.ravel(each) for each in model.get_weights()])
            history = train(model)
            after = np.concatenate([np.ravel(each) for each in model.get_weights()])
        found |= {f"{name}_before": before, name: after, f"{name}_loss": history.history["loss"]}
        if how == "bfloat16":
            model.save(file := out.with_name(f"{name}.keras"))
            outputs = [each.predict(images, verbose=0) for each in (model, keras.models.load_model(file))]
            layers = model.get_layer("head").layers
            found[f"{name}_outputs"] = np.stack(outputs)
            found[f"{name}_dtypes"] = [outputs[0].dtype.name, *(each.compute_dtype for each in layers)]
    refusals = []
    for train in (tlkit.fine_tune, tlkit.train_head):
        if how == "devices" and not chosen:
            model = classifier()
            try:
                train(model, Split(images[:50], labels[:50]), epochs=1, batch_size=BATCH)
            except TlkitError as error:
                model.get_weights()  # are still there
                refusals.append(str(error))
    np.savez(out, shares=np.array(shares), refusals=refusals, **found)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
