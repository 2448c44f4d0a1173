"""Plain Keras in, plain Keras out: what every public trainer keeps to.

In the manner of scikit-learn's estimator checks: a new trainer is one row of `TRAINERS`.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from plain_keras import run_without_tlkit
from pushes import full, graph, mostly_full, traced

import tlkit
from tlkit.data import Split
from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.models import backbone_of, head_of

CLASSES, SIZE, BATCH, N = 3, 16, 8, 24
LABELS = np.arange(N) % CLASSES
RNG = np.random.default_rng(0)
# the class shows in the brightness of a colour, so that a few steps are enough to learn it
COLOURS = 60 + 120 * np.eye(CLASSES)[LABELS][:, None, None, :]
IMAGES = (COLOURS + RNG.uniform(0, 40, (N, SIZE, SIZE, 3))).astype("uint8")


def ours(activation):
    """A classifier of `build_classifier`, with augmentation."""
    augmentation = tlkit.augmentation(strength=0.1)
    return tlkit.build_classifier(
        "LeNet", CLASSES, weights=None, image_size=SIZE, augmentation=augmentation, activation=activation
    )


def foreign_cnn(activation):
    """A flat Sequential classifier of the user's own."""
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.BatchNormalization(momentum=0.5),
            layers.Conv2D(12, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16, activation="relu"),
            layers.Dense(CLASSES, activation=activation),
        ],
        name="mine",
    )


def foreign_tokens(activation):
    """A functional classifier on a transformer of the user's own, as the Keras guide nests it."""
    images = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(12, 4, strides=4)(images)
    x = layers.Reshape((-1, 12))(x)
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 6)(x, x))
    transformer = keras.Model(images, x, name="transformer")
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = layers.GlobalAveragePooling1D()(transformer(x, training=False))
    return keras.Model(inputs, layers.Dense(CLASSES, activation=activation)(x), name="guide")


class UserData(keras.utils.PyDataset):
    """A PyDataset as users write them; images and labels may be dictionaries."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return N // BATCH

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        parts = tuple(keras.tree.map_structure(lambda each: each[rows], each) for each in self.arrays)
        return parts if len(parts) > 1 else parts[0]


def tf_data(*arrays):
    """A shuffled tf.data.Dataset of batches."""
    tf = pytest.importorskip("tensorflow")
    given = arrays if len(arrays) > 1 else arrays[0]
    return tf.data.Dataset.from_tensor_slices(given).shuffle(N).batch(BATCH)


MODELS = {"ours": ours, "foreign-cnn": foreign_cnn, "foreign-tokens": foreign_tokens}
KINDS = ("split", "arrays", "tf.data", "PyDataset")


def of_kind(kind: str, images: Any, labels: Any, split: Split | None = None) -> Any:
    """Return the same images and labels as data of one kind."""
    if kind == "split":
        return split or Split(images, labels)
    return {"arrays": lambda *each: each, "tf.data": tf_data, "PyDataset": UserData}[kind](images, labels)


@dataclass(frozen=True)
class Trainer:
    """One public way to train: a new one is a row of `TRAINERS`.

    Attributes:
        name: of the row.
        fit: trains a classifier on data of one kind: `fit(model, kind, epochs=, callbacks=, labels=)`.
            Returns the plain model that has learned, and Keras's history.
        compiles: whether it trains with the settings that the classifier was compiled with.
        logits: whether there is anything to tell logits from probabilities.
    """

    name: str
    fit: Callable[..., tuple[keras.Model, Any]]
    compiles: bool = True
    logits: bool = True


def by(function: Callable[..., Any], **fixed: Any) -> Callable[..., tuple[keras.Model, Any]]:
    """Fit by a function of a model, data and validation data."""

    def fit(model, kind, *, epochs=1, callbacks=(), labels=LABELS, **options):
        data = of_kind(kind, IMAGES, labels)
        sizes = {"batch_size": BATCH} if kind in ("split", "arrays") else {}
        given = {"epochs": epochs, "callbacks": callbacks, **sizes, **fixed, **options}
        return model, function(model, data, data, **given)

    return fit


def adapt(model, kind, *, epochs=1, callbacks=(), labels=LABELS, **options):
    """Adapt a classifier; the target is the negative of the source."""
    compiling = {name: options.pop(name) for name in ("optimizer", "loss") if name in options}
    adapter = tlkit.DomainAdapter(model, "dann")
    if compiling:
        adapter.compile(**compiling)
    domains = {"source": IMAGES, "target": 255 - IMAGES}
    if kind == "split":
        given = (tlkit.pair(Split(IMAGES, labels), Split(255 - IMAGES), batch_size=BATCH),)
    elif kind == "arrays":
        given = (domains, labels)
    else:
        given = (of_kind(kind, domains, labels),)
    held_out = of_kind(kind, IMAGES, labels)
    options = {"validation_data": held_out, "verbose": 0, **options}
    return model, adapter.fit(*given, epochs=epochs, callbacks=callbacks, **options)


def learn_tasks(model, kind, *, epochs=1, callbacks=(), labels=LABELS, **options):
    """Learn the classes and how bright an image is, on the classifier's backbone."""
    from tlkit.techniques.multi_task import Classification, MultiTask, Regression

    tasks = {"kind": Classification(CLASSES), "light": Regression(mean=0.5, deviation=0.2)}
    head = head_of(model)
    features = keras.Input(head.inputs[0].shape[1:])
    outputs = {"kind": head(features), "light": layers.Dense(1)(features)}
    network = tlkit.attach_head(backbone_of(model), keras.Model(features, outputs, name="heads"))
    learner = MultiTask(network, tasks)
    if "optimizer" in options:
        learner.compile(options.pop("optimizer"))
    light = (IMAGES.mean(axis=(1, 2, 3)) / 255)[:, None].astype("float32")
    split = Split(IMAGES, attributes={"kind": labels, "light": light[:, 0]})
    data = of_kind(kind, IMAGES, {"kind": labels, "light": light}, split)
    given = data if kind == "arrays" else (data,)
    sizes = {"batch_size": BATCH} if kind in ("split", "arrays") else {}
    options = {"validation_data": data, "verbose": 0, **sizes, **options}
    return network, learner.fit(*given, epochs=epochs, callbacks=callbacks, **options)


def learn_without_labels(model, kind, *, epochs=1, callbacks=(), labels=LABELS, **options):
    """Learn the classifier's backbone by contrast."""
    from tlkit.techniques.self_supervised import SelfSupervised, SimCLR

    backbone = backbone_of(model)
    learner = SelfSupervised(backbone, SimCLR(projector=(8, 8)))
    if "optimizer" in options:
        learner.compile(options.pop("optimizer"))
    arrays = {"split": Split(IMAGES), "arrays": IMAGES}
    data = arrays[kind] if kind in arrays else {"tf.data": tf_data, "PyDataset": UserData}[kind](IMAGES)
    sizes = {"batch_size": BATCH} if kind in arrays else {}
    options = {"validation_data": data, "verbose": 0, **sizes, **options}
    return backbone, learner.fit(data, epochs=epochs, callbacks=callbacks, **options)


def learn_new_classes(model, kind, *, epochs=1, callbacks=(), labels=LABELS, **options):
    """Learn two more classes without forgetting the three of the classifier."""
    from tlkit.techniques.continual_learning import LearningWithoutForgetting, add_classes

    student = add_classes(model, 2)
    if model.compiled:
        student.compile_from_config(model.get_compile_config())
    learner = LearningWithoutForgetting(student, teacher=model)
    compiling = {name: options.pop(name) for name in ("optimizer", "loss") if name in options}
    if compiling:
        learner.compile(**compiling)
    data = of_kind(kind, IMAGES, np.where(labels < CLASSES, CLASSES + labels % 2, labels + 2))
    given = data if kind == "arrays" else (data,)
    sizes = {"batch_size": BATCH} if kind in ("split", "arrays") else {}
    options = {"validation_data": data, "verbose": 0, **sizes, **options}
    return student, learner.fit(*given, epochs=epochs, callbacks=callbacks, **options)


def unfreeze_two_stages(model, *data, epochs, **options):
    """Unfreeze the two highest stages, one after the other."""
    highest = [*tlkit.backbones.stages(backbone_of(model))][:-3:-1]
    return tlkit.gradual_unfreezing(model, *data, stages=highest, epochs_per_stage=epochs, **options)


def regularised(model, *data, **options):
    """Fine-tune with batch spectral shrinkage, whose learner is a model around the classifier."""
    from tlkit.challenges.overfitting import REGULARIZERS

    return REGULARIZERS.find("bss").fine_tune(model, *data, **options)[1]


TRAINERS = (
    Trainer("train_head", by(tlkit.train_head)),
    Trainer("fine_tune", by(tlkit.fine_tune, depth_decay=0.5)),
    Trainer("gradual_unfreezing", by(unfreeze_two_stages)),
    Trainer("regularizer", by(regularised)),
    Trainer("DomainAdapter", adapt),
    Trainer("LearningWithoutForgetting", learn_new_classes, compiles=False),
    Trainer("MultiTask", learn_tasks, compiles=False),
    Trainer("SelfSupervised", learn_without_labels, compiles=False, logits=False),
)


LOGITS = {"softmax": "softmax", "logits": None}
# On a push, these stand for all: the others call `fine_tune`, or have the base class of the last two.
ON_PUSH = ("train_head", "fine_tune", "DomainAdapter", "LearningWithoutForgetting")


def on_every_push(trainer, activation, model, kind):
    """Whether a cell runs on every push: each model, kind and activation, but not each combination."""
    if activation == "logits":
        return (model, kind) == ("ours", "arrays") and trainer in ON_PUSH
    others = {"arrays": "ours", "tf.data": "foreign-cnn", "PyDataset": "foreign-tokens"}
    return model == others.get(kind)  # nearly all other tests train on a `Split`


CELLS = [
    pytest.param(
        trainer,
        activation,
        model,
        kind,
        id=f"{trainer.name}-{activation}-{model}-{kind}",
        marks=[] if on_every_push(trainer.name, activation, model, kind) else [full],
    )
    for trainer, activation, model, kind in itertools.product(TRAINERS, LOGITS, MODELS, KINDS)
    if trainer.logits or activation == "softmax"
]


def rows(trainers):
    """Parametrize by trainers; `make test-full` runs all of them."""
    kept = [each for each in trainers if each.name in ON_PUSH]
    return pytest.mark.parametrize("trainer", mostly_full(trainers, *kept), ids=lambda each: each.name)


each_trainer = rows(TRAINERS)
labelled_trainer = rows([each for each in TRAINERS if each.logits])
compiling_trainer = rows([each for each in TRAINERS if each.compiles])
OPEN_ALL = """
import pathlib, warnings, keras, numpy as np
[folder] = map(pathlib.Path, arguments)
images = np.load(folder / "images.npy")
for path in sorted(folder.glob("*.keras")):
    with warnings.catch_warnings():
        # Keras forgets that layers within a layer were frozen, and so leaves out the optimizer's state
        warnings.simplefilter("ignore" if "tokens" in path.name else "error", UserWarning)
        model = keras.saving.load_model(path)
    found = keras.tree.flatten(model(images, training=False))
    expected = np.load(path.with_suffix(".npz"))
    for i, each in enumerate(found):
        each = keras.ops.convert_to_numpy(each)
        np.testing.assert_allclose(each, expected[f"arr_{i}"], atol=1e-4, err_msg=path.name)
    print(path.name, len(found))
"""


def build(name, activation="softmax"):
    """Build one of the models from fixed random weights."""
    keras.utils.set_random_seed(0)
    return MODELS[name](activation)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The folder in which every cell leaves its checkpoint, and what the model predicts."""
    folder = tmp_path_factory.mktemp("checkpoints")
    np.save(folder / "images.npy", IMAGES)
    return folder


@pytest.mark.parametrize(("trainer", "activation", "model", "kind"), CELLS)
def test_it_trains_any_model_on_any_data_and_its_checkpoint_is_the_whole_model(
    trainer, activation, model, kind, checkpoints
):
    classifier = build(model, LOGITS[activation])
    path = checkpoints / f"{trainer.name}-{activation}-{model}-{kind}.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(path)
    with traced(kind == "arrays"):
        plain, history = trainer.fit(classifier, kind, callbacks=[checkpoint])
    assert np.isfinite(history.history["loss"]).all()
    assert any(name.startswith("val_") for name in history.history)
    outputs = keras.tree.flatten(plain(IMAGES, training=False))
    predicted = [keras.ops.convert_to_numpy(each) for each in outputs]
    np.savez(path.with_suffix(".npz"), *predicted)
    if kind == "arrays":
        plain.save(path.with_name(f"after-{path.name}"))
        np.savez(path.with_name(f"after-{path.stem}.npz"), *predicted)


def test_all_these_checkpoints_open_and_predict_without_tlkit(checkpoints):
    """Runs behind the cells, and opens what each of them has left."""
    left = sorted(path.name for path in checkpoints.glob("*.keras"))
    if not left:
        pytest.skip("no cell ran before")
    printed = run_without_tlkit(OPEN_ALL, str(checkpoints))
    assert [line.split()[0] for line in printed.splitlines()] == left


@graph
@pytest.mark.parametrize(
    ("model", "activation"),
    [
        pytest.param(*cell, marks=[] if cell == ("ours", "logits") else [full])
        for cell in itertools.product(MODELS, LOGITS)
    ],
)
@pytest.mark.parametrize("trainer", mostly_full(TRAINERS[:2], TRAINERS[0]), ids=lambda each: each.name)
def test_logits_learn_as_probabilities_do(trainer, model, activation):
    classifier = build(model, LOGITS[activation])
    trainer.fit(classifier, "arrays", epochs=30, learning_rate=0.01)
    predicted = classifier.predict(IMAGES, verbose=0)
    assert (predicted.argmax(axis=1) == LABELS).mean() > 0.7
    assert np.allclose(predicted.sum(axis=1), 1, atol=1e-4) == (activation == "softmax")


@each_trainer
def test_the_compile_state_is_as_before(trainer):
    classifier = build("foreign-cnn")
    optimizer, loss = keras.optimizers.SGD(0.05, momentum=0.9), keras.losses.SparseCategoricalCrossentropy()
    at_once = 1 if keras.backend.backend() == "torch" else 2  # there Keras takes no other number
    classifier.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=at_once)
    metrics = classifier._compile_metrics
    trainer.fit(classifier, "arrays")
    assert classifier.optimizer is optimizer
    assert (classifier.loss, classifier.steps_per_execution) == (loss, at_once)
    assert classifier._compile_metrics is metrics
    assert int(optimizer.iterations) == 0
    classifier.fit(IMAGES, LABELS, batch_size=BATCH, epochs=1, verbose=0)
    assert int(optimizer.iterations) == N // BATCH
    assert len(classifier.evaluate(IMAGES, LABELS, verbose=0)) == 2


@each_trainer
def test_an_optimizer_that_has_learned_keeps_its_state(trainer):
    classifier = build("foreign-cnn")
    classifier.compile("adam", "sparse_categorical_crossentropy")
    classifier.fit(IMAGES, LABELS, batch_size=BATCH, epochs=1, verbose=0)
    before = [np.array(each) for each in classifier.optimizer.variables]
    trainer.fit(classifier, "arrays")
    for one, other in zip(before, classifier.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, np.array(other))


@each_trainer
def test_a_model_that_was_not_compiled_is_not(trainer):
    classifier = build("foreign-cnn")
    trainer.fit(classifier, "arrays")
    assert not classifier.compiled


class Raise(keras.callbacks.Callback):
    """Raise after the first step."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        raise self.error


@pytest.mark.parametrize("error", mostly_full([RuntimeError, KeyboardInterrupt], KeyboardInterrupt))
@each_trainer
def test_the_compile_state_is_as_before_after_an_error_and_after_ctrl_c(trainer, error):
    classifier = build("foreign-cnn")
    classifier.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    optimizer = classifier.optimizer
    with pytest.raises(error):
        trainer.fit(classifier, "arrays", callbacks=[Raise(error)])
    assert classifier.optimizer is optimizer
    assert np.isfinite(classifier.predict(IMAGES, verbose=0)).all()
    classifier.fit(IMAGES, LABELS, batch_size=BATCH, verbose=0)


@compiling_trainer
def test_the_models_own_settings_are_used_and_arguments_come_first(trainer):
    classifier = build("foreign-cnn")
    used = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            used.append((type(self.model.optimizer).__name__, float(self.model.optimizer.learning_rate)))

    classifier.compile(keras.optimizers.RMSprop(0.005), "sparse_categorical_crossentropy")
    trainer.fit(classifier, "arrays", callbacks=[Watch()])
    trainer.fit(classifier, "arrays", callbacks=[Watch()], optimizer=keras.optimizers.SGD(0.01))
    assert used[0][0] == "RMSprop"
    assert used[0][1] == pytest.approx(0.005)
    assert used[-1] == ("SGD", pytest.approx(0.01))


def stock_callbacks(folder):
    """Return callbacks of Keras by their names, and the file or folder that each leaves."""
    kinds = keras.callbacks
    return {
        "ModelCheckpoint": (kinds.ModelCheckpoint(folder / "best.keras"), "best.keras"),
        "weights only": (
            kinds.ModelCheckpoint(folder / "best.weights.h5", save_weights_only=True),
            "best.weights.h5",
        ),
        "every step": (kinds.ModelCheckpoint(folder / "step.keras", save_freq=1), "step.keras"),
        "BackupAndRestore": (
            kinds.BackupAndRestore(folder / "backup", delete_checkpoint=False),
            "backup/latest.weights.h5",
        ),
        "TensorBoard": (kinds.TensorBoard(folder / "board"), "board"),
        "CSVLogger": (kinds.CSVLogger(folder / "log.csv"), "log.csv"),
        "ReduceLROnPlateau": (kinds.ReduceLROnPlateau("loss"), None),
        "LearningRateScheduler": (kinds.LearningRateScheduler(lambda epoch, rate: rate / 2), None),
        "EarlyStopping": (kinds.EarlyStopping("loss", patience=3, restore_best_weights=True), None),
        "TerminateOnNaN": (kinds.TerminateOnNaN(), None),
        "LambdaCallback": (kinds.LambdaCallback(on_epoch_end=lambda epoch, logs: None), None),
    }


@each_trainer
def test_stock_callbacks_work_all_at_once(trainer, tmp_path):
    """And the weights alone go into the plain model."""
    if keras.backend.backend() != "tensorflow":
        pytest.importorskip("tensorboard")
    classifier = build("foreign-cnn")
    callbacks = stock_callbacks(tmp_path)
    if trainer.name == "gradual_unfreezing":
        with pytest.raises(TlkitError, match="BackupAndRestore cannot resume"):
            trainer.fit(classifier, "arrays", callbacks=callbacks["BackupAndRestore"][0])
        del callbacks["BackupAndRestore"]
    plain, history = trainer.fit(
        classifier, "arrays", epochs=2, callbacks=[each for each, _ in callbacks.values()]
    )
    assert len(history.history["loss"]) >= 2
    for _, left in callbacks.values():
        assert left is None or (tmp_path / left).exists()
    rates = history.history["learning_rate"]
    assert rates[1] < rates[0]
    plain.load_weights(tmp_path / "best.weights.h5")
    assert keras.saving.load_model(tmp_path / "step.keras").inputs[0].shape == plain.inputs[0].shape


@labelled_trainer
def test_the_best_epoch_by_a_metric_that_rises_is_saved(trainer, tmp_path):
    """Keras asks the model of the callback which way the metric goes."""
    metric = "kind_accuracy" if trainer.name == "MultiTask" else "accuracy"
    kinds = keras.callbacks
    callbacks = [
        kinds.ModelCheckpoint(tmp_path / "best.keras", monitor=f"val_{metric}", save_best_only=True),
        kinds.EarlyStopping(f"val_{metric}", patience=5),
    ]
    classifier = build("foreign-cnn")
    if trainer.compiles:
        classifier.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    plain, _ = trainer.fit(classifier, "arrays", epochs=2, callbacks=callbacks)
    assert keras.saving.load_model(tmp_path / "best.keras").count_params() == plain.count_params()


@each_trainer
def test_a_callback_may_stop_the_training(trainer):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    _, history = trainer.fit(build("foreign-cnn"), "arrays", epochs=3, callbacks=Stop())
    assert len(history.history["loss"]) == (2 if trainer.name == "gradual_unfreezing" else 1)


@pytest.mark.parametrize("trainer", [TRAINERS[1], TRAINERS[4]], ids=lambda each: each.name)
def test_an_interrupted_training_goes_on_from_its_backup(trainer, tmp_path):
    class StopAt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    backup = keras.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(build("foreign-cnn"), "arrays", epochs=4, callbacks=[backup, StopAt()])
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    _, history = trainer.fit(build("foreign-cnn"), "arrays", epochs=4, callbacks=[backup])
    assert history.epoch == [2, 3]


@pytest.mark.parametrize("kind", KINDS)
@labelled_trainer
def test_labels_that_do_not_fit_are_one_clear_error(trainer, kind):
    wrong = np.where(np.arange(N) == 0, 7, LABELS)
    with pytest.raises(TlkitError, match=r"7|to 9"):
        trainer.fit(build("ours"), kind, labels=wrong)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the others raise nothing")
@labelled_trainer
def test_a_label_that_does_not_fit_in_a_later_batch_is_one_clear_error_too(trainer):
    wrong = np.where(np.arange(N) == N - 1, 7, LABELS)
    with pytest.raises(DataError, match=r"label [79]|to [79]"):
        trainer.fit(build("ours"), "PyDataset", labels=wrong)


@each_trainer
def test_images_of_another_size_are_one_clear_error(trainer, monkeypatch):
    monkeypatch.setitem(globals(), "IMAGES", np.repeat(IMAGES, 2, axis=1))
    with pytest.raises(DataError, match=r"shape \(32, 16, 3\)"):
        trainer.fit(build("foreign-cnn"), "arrays")


@compiling_trainer
def test_a_stage_that_does_not_exist_lists_those_that_do(trainer):
    if trainer.name in ("train_head", "DomainAdapter", "gradual_unfreezing"):
        pytest.skip("takes no stage")
    with pytest.raises(UnknownNameError, match="stage1, stage2"):
        trainer.fit(build("foreign-cnn"), "arrays", from_stage="stage4")


@pytest.mark.parametrize("trainer", TRAINERS[:2], ids=lambda each: each.name)
def test_a_learning_rate_cannot_be_set_on_a_schedule_and_the_reason_is_told(trainer):
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 10)
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    with pytest.raises(TlkitError, match="LearningRateScheduler cannot set the learning rate"):
        trainer.fit(
            build("foreign-cnn"), "arrays", optimizer=keras.optimizers.SGD(schedule), callbacks=[scheduler]
        )


@pytest.mark.parametrize("trainer", TRAINERS[:2], ids=lambda each: each.name)
def test_class_weights_are_given_as_to_keras_or_balanced(trainer):
    for given in ("balanced", {0: 1.0, 1: 2.0, 2: 1.0}):
        trainer.fit(build("foreign-cnn"), "arrays", class_weight=given)
    with pytest.raises(TlkitError, match="class_weight='balance' was given; expected 'balanced'"):
        trainer.fit(build("foreign-cnn"), "arrays", class_weight="balance")


@graph
@pytest.mark.parametrize("trainer", TRAINERS[:2], ids=lambda each: each.name)
def test_sample_weights_count(trainer):
    """Of images with no weight nothing is learned."""
    classifier = build("foreign-cnn")
    function = getattr(tlkit, trainer.name)
    weights = (LABELS != 2).astype("float32")
    function(classifier, (IMAGES, LABELS, weights), epochs=30, learning_rate=0.01, batch_size=BATCH)
    assert not (classifier.predict(IMAGES, verbose=0).argmax(axis=1) == 2).any()


@pytest.mark.parametrize("trainer", TRAINERS[:2], ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (IMAGES, "is of type ndarray; expected a Split"),
        ((IMAGES,), "expected a Split"),
        ((IMAGES, LABELS[1:]), "24 images and 23 labels"),
        ((each for each in [(IMAGES, LABELS)]), "is of type generator"),
        (UserData(IMAGES), "has no labels"),
        ((IMAGES, np.eye(4)[LABELS]), "one-hot labels of 4 classes"),
    ],
)
def test_what_is_no_labelled_data_is_refused(trainer, data, said):
    with pytest.raises(DataError, match=said):
        getattr(tlkit, trainer.name)(build("foreign-cnn"), data)


def test_a_dataset_without_end_is_refused():
    with pytest.raises(DataError, match="repeats for ever"):
        tlkit.fine_tune(build("foreign-cnn"), tf_data(IMAGES, LABELS).repeat())


@graph
def test_rows_of_classes_are_labels_too():
    for function in (tlkit.train_head, tlkit.fine_tune):
        classifier = build("foreign-cnn", None)
        function(classifier, (IMAGES, np.eye(3)[LABELS]), epochs=30, learning_rate=0.01, batch_size=BATCH)
        assert (classifier.predict(IMAGES, verbose=0).argmax(axis=1) == LABELS).mean() > 0.7


@graph
@pytest.mark.parametrize("activation", mostly_full(["sigmoid", None], None))
def test_one_output_is_the_probability_of_the_second_class(activation):
    layers_below = [*build("foreign-cnn").layers[:-1], layers.Dense(1, activation=activation)]
    classifier = keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers_below])
    labels = LABELS // 2
    for function in (tlkit.train_head, tlkit.fine_tune):
        function(classifier, (IMAGES, labels), epochs=30, learning_rate=0.01, batch_size=BATCH)
    predicted = classifier.predict(IMAGES, verbose=0)[:, 0] > (0.5 if activation else 0.0)
    assert (predicted == labels).mean() > 0.8


def test_networks_of_keras_hub_go_through_the_same_door():
    hub = pytest.importorskip("keras_hub")
    vit = hub.models.ViTBackbone(
        image_shape=(SIZE, SIZE, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    for pooling in ("avg", "token"):
        classifier = tlkit.build_classifier(vit, CLASSES, pooling=pooling)
        tlkit.train_head(classifier, (IMAGES, LABELS), epochs=1)
        tlkit.fine_tune(classifier, (IMAGES, LABELS), from_stage="transformer_block_2", epochs=1)
        state = tlkit.frozen_table(classifier)["state"]
        assert state[["transformer_block_1", "transformer_block_2"]].tolist() == ["frozen", "trainable"]
    whole = hub.models.ViTImageClassifier(backbone=vit, num_classes=CLASSES, pooling="token")
    assert backbone_of(whole) is vit


def test_a_subclassed_model_is_told_how_to_come_in():
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Conv2D(4, 3), layers.Conv2D(8, 3)

        def call(self, x):
            return self.second(self.first(x))

    with pytest.raises(
        TlkitError, match=r"subclassed model \(Mine\).*keras.Model\(images, model\(images\)\)"
    ):
        tlkit.build_classifier(Mine(), CLASSES)
    images = keras.Input((SIZE, SIZE, 3))
    classifier = tlkit.build_classifier(keras.Model(images, Mine()(images)), CLASSES)
    assert len(tlkit.frozen_table(classifier)) == 3
    tlkit.fine_tune(classifier, (IMAGES, LABELS), epochs=1)


def test_features_of_another_graph_are_not_taken_for_those_of_this_one():
    """The same layers and weights, with another operation between them."""
    losses = []
    for prepare in (lambda x: x / 127.5 - 1, lambda x: x / 255.0, lambda x: x / 255.0):
        keras.utils.set_random_seed(1)
        images = keras.Input((SIZE, SIZE, 3))
        body = keras.Model(images, layers.Conv2D(8, 3, strides=2, activation="relu")(images))
        pixels = keras.Input((SIZE, SIZE, 3))
        x = layers.GlobalAveragePooling2D()(body(prepare(pixels)))
        classifier = keras.Model(pixels, layers.Dense(CLASSES, "softmax")(x))
        history = tlkit.train_head(classifier, (IMAGES, LABELS), epochs=1, learning_rate=1e-12)
        classifier.compile(loss="sparse_categorical_crossentropy")
        expected = classifier.evaluate(IMAGES, LABELS, verbose=0)
        assert history.history["loss"][0] == pytest.approx(expected, rel=1e-3)
        losses.append(expected)
    assert losses[0] != pytest.approx(losses[1])


def block(filters):
    """A block of a network, as people make them."""
    parts = [layers.Conv2D(filters, 3, strides=2), layers.BatchNormalization(), layers.ReLU()]
    return keras.Sequential(parts, name=f"block{filters}")


@pytest.mark.parametrize("widths", [(4, 8, 12), (12, 8, 4)])
def test_a_network_made_of_blocks_is_frozen_whole_and_has_their_stages(widths):
    blocks = [block(filters) for filters in widths]
    top = [layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, "softmax")]
    classifier = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255), *blocks, *top])
    tlkit.freeze(classifier)
    assert len(classifier.trainable_variables) == 2
    table = tlkit.frozen_table(classifier)
    assert table.index.tolist() == [*(f"block{filters}" for filters in widths), "head"]
    assert table["parameters"].sum() == classifier.count_params()
    tlkit.unfreeze(classifier, from_stage=f"block{widths[-1]}")
    assert len(classifier.trainable_variables) == 4
    backbone = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255), *map(block, widths)])
    assert len(tlkit.frozen_table(tlkit.build_classifier(backbone, CLASSES))) == 4


def test_a_layer_in_front_of_a_pretrained_network_is_its_lowest_stage(tmp_path):
    body = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Conv2D(4, 3), layers.Conv2D(4, 3)])
    images = keras.Input((SIZE, SIZE, 1))
    x = layers.GlobalAveragePooling2D()(body(layers.Conv2D(3, 1, name="front")(images)))
    classifier = keras.Model(images, layers.Dense(CLASSES, "softmax")(x))
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    tlkit.train_head(classifier, (IMAGES[..., :1], LABELS), epochs=1, callbacks=[checkpoint])
    state = tlkit.frozen_table(classifier)["state"]
    assert state.index[0] == "front"
    assert state.tolist() == ["frozen"] * (len(state) - 1) + ["trainable"]
    tlkit.unfreeze(classifier)
    scales = tlkit.optimizers.depth_scales(classifier, 0.5)
    assert min(scales.values()) == scales[classifier.get_layer("front").kernel.path]


@pytest.mark.parametrize("name", mostly_full(["MobileNetV3Small", "EfficientNetB0"], "MobileNetV3Small"))
def test_networks_of_keras_applications_with_their_top_are_classifiers(name):
    classifier = getattr(keras.applications, name)(input_shape=(32, 32, 3), classes=CLASSES, weights=None)
    images = np.zeros((6, 32, 32, 3), "uint8")
    tlkit.train_head(classifier, (images, LABELS[:6]), epochs=1)
    assert tlkit.frozen_table(classifier)["parameters"].sum() == classifier.count_params()


def test_a_transformer_of_plain_layers_has_a_stage_for_each_residual_block():
    stages = tlkit.backbones.stages(backbone_of(build("foreign-tokens")))
    assert [sum(map(bool, (each.weights for each in layers))) for layers in stages.values()] == [
        1,
        1,
        1,
        1,
        1,
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 3},
        {"epochs": 3, "steps_per_epoch": 1},
        {"epochs": 6, "initial_epoch": 3},
        {"epochs": 3, "validation_split": 0.5, "batch_size": 4},
    ],
)
@pytest.mark.parametrize("trainer", TRAINERS[:2], ids=lambda each: each.name)
def test_the_schedule_ends_where_the_training_does(trainer, options):
    rates = []

    class Watch(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    trainer.fit(build("foreign-cnn"), "arrays", callbacks=[Watch()], **options)
    assert rates == [pytest.approx(0, abs=1e-6)]


def test_the_accuracy_of_a_single_logit_is_right_above_zero():
    body = build("foreign-cnn")
    classifier = keras.Sequential([keras.Input((SIZE, SIZE, 3)), *body.layers[:-1], layers.Dense(1)])
    classifier.layers[-1].set_weights([np.full((16, 1), 0.01), np.array([0.3])])
    history = tlkit.train_head(classifier, (IMAGES, np.ones(N, int)), epochs=1, learning_rate=1e-12)
    assert history.history["accuracy"] == [1.0]


def test_what_cannot_be_meant_is_refused_with_advice():
    several = np.array([[1, 1, 0]] * N, "float32")
    with pytest.raises(TlkitError, match="may be of several classes"):
        tlkit.train_head(build("foreign-cnn", None), (IMAGES, several), epochs=1)
    with pytest.raises(TlkitError, match="needs one class for each image"):
        tlkit.train_head(build("foreign-cnn", "sigmoid"), (IMAGES, several), class_weight="balanced")
    classifier = build("foreign-cnn")
    classifier.trainable = False
    with pytest.raises(TlkitError, match=r"Set model\.trainable = True"):
        tlkit.train_head(classifier, (IMAGES, LABELS))
    sparse = {"loss": "categorical_crossentropy", "metrics": [keras.metrics.SparseCategoricalAccuracy()]}
    with pytest.raises(TlkitError, match="metric SparseCategoricalAccuracy needs class indices"):
        tlkit.fine_tune(build("foreign-cnn"), (IMAGES, LABELS), **sparse)


def test_what_an_optimizer_exempts_from_weight_decay_stays_exempt():
    optimizer = keras.optimizers.AdamW(1e-9, weight_decay=1e7)
    optimizer.exclude_from_weight_decay(var_names=["bias", "kernel"])
    classifier = build("foreign-cnn")
    classifier.compile(optimizer, "sparse_categorical_crossentropy")
    before = classifier.layers[-1].get_weights()[0]
    tlkit.train_head(classifier, (IMAGES, LABELS), epochs=2)
    np.testing.assert_allclose(classifier.layers[-1].get_weights()[0], before, atol=1e-6)


@pytest.mark.parametrize(
    "loss", ["categorical_crossentropy", keras.losses.CategoricalCrossentropy(label_smoothing=0.1)]
)
def test_an_adapter_takes_losses_of_rows_and_balanced_weights(loss):
    adapter = tlkit.DomainAdapter(build("foreign-cnn"), "dann")
    adapter.compile("adam", loss, metrics=["accuracy"])
    for labels in (LABELS, np.eye(CLASSES)[LABELS]):
        adapter.fit(
            {"source": IMAGES, "target": 255 - IMAGES},
            labels,
            batch_size=BATCH,
            class_weight="balanced" if labels.ndim == 1 else None,
            validation_data=(IMAGES, LABELS),
            verbose=0,
        )
    with pytest.raises(TlkitError, match="sample_weight cannot be used for two domains"):
        adapter.fit({"source": IMAGES, "target": IMAGES}, LABELS, sample_weight=np.ones(N))


def test_a_callback_of_ones_own_is_told_of_every_step_of_the_head():
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    tlkit.train_head(build("foreign-cnn"), (IMAGES, LABELS), epochs=1, batch_size=BATCH, callbacks=[Watch()])
    assert seen == [0, 1, 2]
