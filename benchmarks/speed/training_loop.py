"""Images a second of training: a hand-written loop, Keras's fit, and `fine_tune`, on the same images.

    .venv/bin/python benchmarks/speed/training_loop.py [--full]

Each backend that is installed has a process of its own, in which the sides take turns by the epoch. All train
the whole network by Adam from the same weights. The hand-written loop gives uint8 images to the device ahead
of the step and converts them there: JAX by `value_and_grad`, TensorFlow by a `tf.function`. On a GPU the
networks are ResNet50 and EfficientNetB0 at 224 pixels, in mixed bfloat16, in batches of 256.
"""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from measuring import ROUNDS, Comparison, Report, main, take_turns

BACKENDS = ("jax", "tensorflow")
CLASSES, RATE = 10, 1e-3
LOOP, TUNED = "hand-written loop", "fine_tune"
GOAL = 0.95  # of the loop


class InTurns:
    """A training in a thread of its own that goes on for one epoch whenever it is called.

    Args:
        train: calls the function that it is given at the end of each epoch, and waits there for its turn.
        images: in an epoch; a call returns how many of them a second were trained on.
    """

    def __init__(self, train: Callable[[Callable[[], None]], Any], images: int) -> None:
        self.train, self.images = train, images
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.answer: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __call__(self) -> float:
        start = time.perf_counter()
        self.go.release()
        self.done.acquire()
        if self.error:
            raise self.error
        return self.images / (time.perf_counter() - start)

    def result(self) -> Any:
        """Let the training end, and return what it returned."""
        self.go.release()
        self.thread.join()
        return self.answer

    def _run(self) -> None:
        self.go.acquire()
        try:
            self.answer = self.train(self._wait)
        except BaseException as error:
            self.error = error
            self.done.release()

    def _wait(self) -> None:
        self.done.release()
        self.go.acquire()


def side(network: str, size: int, batch: int, steps: int, rounds: int, bfloat16: bool) -> dict[str, Any]:
    """Let all sides of this backend train one network in turns; their rates, and what each has learned."""
    import keras

    import tlkit
    from tlkit.data import Split

    keras.config.set_dtype_policy("mixed_bfloat16" if bfloat16 else "float32")
    rng, n, epochs = np.random.default_rng(0), batch * steps, rounds + 1
    labels = rng.integers(0, CLASSES, n).astype("int32")
    images = rng.integers(0, 100, (n, size, size, 3), dtype="uint8")
    images += (15 * labels).astype("uint8")[:, None, None, None]  # the class is the brightness

    def classifier() -> Any:
        keras.utils.set_random_seed(0)
        model = tlkit.build_classifier(network, CLASSES, weights=None, image_size=size, dropout=0.0)
        tlkit.unfreeze(model, batch_norm=True)
        return model

    def waiting(turn: Callable[[], None]) -> Any:
        return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: turn())

    def fit(given: np.ndarray) -> Callable[[Callable[[], None]], Any]:
        model = classifier()
        model.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
        options = {"batch_size": batch, "epochs": epochs, "verbose": 0}
        return lambda turn: model.fit(given, labels, callbacks=[waiting(turn)], **options).history["loss"]

    def tune(turn: Callable[[], None]) -> list[float]:
        options = {"batch_norm": True, "learning_rate": RATE, "batch_size": batch, "epochs": epochs}
        split = Split(images, labels)
        return tlkit.fine_tune(tuned, split, callbacks=[waiting(turn)], **options).history["loss"]

    loop = loop_of_jax if keras.backend.backend() == "jax" else loop_of_tensorflow
    by_hand, tuned = classifier(), classifier()
    jobs = {
        LOOP: lambda turn: loop(by_hand, images, labels, batch, epochs, turn),
        "fit, float32 arrays": fit(images.astype("float32")),
        "fit, uint8 arrays": fit(images),
        TUNED: tune,
    }
    sides = {name: InTurns(train, n) for name, train in jobs.items()}
    rates = take_turns(sides, rounds)
    return {"rates": rates, "losses": {name: each.result() for name, each in sides.items()}}


def loop_of_jax(model: Any, images: Any, labels: Any, batch: int, epochs: int, turn: Any) -> list[float]:
    """Adam by hand on JAX: the state is donated, and the next batch is on its way while a step runs."""
    import jax
    import keras

    optimizer = keras.optimizers.Adam(RATE)
    optimizer.build(model.trainable_variables)

    def loss(trainable: Any, rest: Any, x: Any, y: Any) -> Any:
        p, rest = model.stateless_call(trainable, rest, x, training=True)
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, p)), rest

    def step(state: Any, x: Any, y: Any) -> Any:
        trainable, rest, slots = state
        (value, rest), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, rest, x, y)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return (trainable, rest, slots), value

    step = jax.jit(step, donate_argnums=0)
    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state: Any = tuple([variable.value for variable in group] for group in variables)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(epochs):
        order, ahead, values = rng.permutation(len(images)), None, []
        for start in range(0, len(images), batch):
            rows = order[start : start + batch]
            following = jax.device_put((images[rows], labels[rows]))
            if ahead is not None:
                state, value = step(state, *ahead)
                values.append(value)
            ahead = following
        state, value = jax.block_until_ready(step(state, *ahead))
        losses.append(float(np.mean(jax.device_get([*values, value]))))
        turn()
    return losses


def loop_of_tensorflow(
    model: Any, images: Any, labels: Any, batch: int, epochs: int, turn: Any
) -> list[float]:
    """Adam by hand on TensorFlow: one traced step, and a `tf.data` pipeline ahead of it."""
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.Adam(RATE)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=bool(tf.config.list_physical_devices("GPU")))
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            p = model(x, training=True)
            value = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, p))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(value, variables), variables)
        return value

    with tf.device("CPU"):
        held = tf.constant(images), tf.constant(labels)
    rows = tf.data.Dataset.range(len(images)).shuffle(len(images)).batch(batch)
    batches = rows.map(lambda chosen: tuple(tf.gather(each, chosen) for each in held)).prefetch(2)
    losses = []
    for _ in range(epochs):
        values = [step(x, y) for x, y in batches]
        losses.append(float(np.mean([value.numpy() for value in values])))
        turn()
    return losses


def networks(full: bool, accelerator: bool, backend: str) -> list[dict[str, Any]]:
    """What is trained here: network, pixels, images in a batch, steps in an epoch."""
    if accelerator:
        names = "ResNet50", "EfficientNetB0"
        steps = 40 if full else 20
        return [
            {"network": name, "size": 224, "batch": 256, "steps": steps, "bfloat16": True} for name in names
        ]
    slow = backend == "jax"  # XLA's convolutions on a processor, and it compiles the deep one for long
    small = {"network": "LeNet", "size": 28, "batch": 64, "steps": 12 if slow else 32, "bfloat16": False}
    deep = {"network": "EfficientNetLite0", "size": 64, "batch": 32, "steps": 4, "bfloat16": False}
    return [small, deep] if full or not slow else [small]


def serve(full: bool) -> None:
    """In the process of one backend: measure all networks, and print one line of JSON."""
    import keras

    from tlkit.backbones.engines import has_accelerator

    backend, accelerator = keras.backend.backend(), has_accelerator()
    found = []
    for settings in networks(full, accelerator, backend):
        title = "{network}, {size} pixels, batches of {batch}".format(**settings)
        title += f", {backend}" + (", bfloat16" if settings["bfloat16"] else "")
        found.append({"title": title, **side(**settings, rounds=ROUNDS)})
    print(json.dumps({"accelerator": accelerator, "found": found}), flush=True)


def measure(full: bool) -> Report:
    report = Report("Training: images a second")
    for backend in BACKENDS:
        if importlib.util.find_spec(backend) is None:
            report.missing[backend] = f"pip install {backend}"
            continue
        command = [sys.executable, __file__, "of-one-backend", *(["--full"] if full else [])]
        settings = os.environ | {"KERAS_BACKEND": backend}
        done = subprocess.run(command, env=settings, stdout=subprocess.PIPE, text=True, check=True)
        answer = json.loads(done.stdout.splitlines()[-1])
        for each in answer["found"]:
            comparison = Comparison(each["title"], "images/s", TUNED, each["rates"], better="more")
            report.comparisons.append(comparison)
            report.notes.append(note(each))
        if not answer["accelerator"]:
            report.notes.append(
                f"Measured for {backend} on a processor; how it is on a GPU, this does not say."
            )
    return report


def note(found: dict[str, Any]) -> str:
    """Return how near to the loop `fine_tune` came, once it is sure that all sides learned."""
    for name, losses in found["losses"].items():
        if not losses[-1] < losses[0]:
            raise SystemExit(f"{found['title']}: {name} did not learn; its losses are {losses}.")
    rates = {name: np.array(values) for name, values in found["rates"].items()}
    ratio = np.median(rates[TUNED] / rates[LOOP])
    last = [losses[-1] for losses in found["losses"].values()]
    return (
        f"{found['title']}: fine_tune trains at {ratio:.0%} of the hand-written loop; the goal, on a GPU, is "
        f"{GOAL:.0%}. The loss of all sides fell, in the last epoch to {min(last):.2f} to {max(last):.2f}."
    )


if __name__ == "__main__":
    if "of-one-backend" in sys.argv:
        serve("--full" in sys.argv)
    else:
        main(measure)
