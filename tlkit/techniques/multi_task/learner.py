"""A network with several heads that learns from dictionaries of labels, by Keras's own fit."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit._internal.registry import resolve
from tlkit.backbones.structure import functional
from tlkit.callbacks import StopAtNaN, saving
from tlkit.data import ImageFiles, Split
from tlkit.data.labelled import fits, is_batches
from tlkit.errors import DataError, TlkitError
from tlkit.techniques.learners import Learner
from tlkit.techniques.multi_task import gradients
from tlkit.techniques.multi_task.balancing import Balancing
from tlkit.techniques.multi_task.columns import checked_labels, first_inputs, labels_for
from tlkit.techniques.multi_task.heads import end_of, of_one_alone
from tlkit.techniques.multi_task.methods import BALANCINGS
from tlkit.techniques.multi_task.tasks import Task
from tlkit.techniques.training import make_state, replica_share

Labels = Mapping[str, Any]


@keras.saving.register_keras_serializable("tlkit")
class MultiTask(Learner):
    """Train a network on several tasks at once; an example may have labels for some of them only.

    The network learns in place and stays a plain Keras model: save it, or let `ModelCheckpoint` do so. The
    learner itself is saved to go on training. Give it the part `model.get_layer("head")` instead of the whole
    network to train on kept features.

    Args:
        network: inputs to `{task: predictions}`, as `build_multi_task` makes it, or any functional model with
            such outputs. Classes and labels are predicted by probabilities or by logits.
        tasks: the tasks by name, the same as the network's outputs.
        balancing: how the tasks' losses become one, such as `PCGrad()` or its name, `"pcgrad"`; equal weights
            by default.
        watch_gradients: record the cosine between each two tasks' gradients in the shared layers. A step then
            goes back through the network once for each task; rules that see gradients do that anyway.

    Keras's history gets, for each task, `<task>_loss`, `<task>_accuracy` or `<task>_error`, `<task>_weight`
    (mean over the steps; of PCGrad and CAGrad in the shared layers), and where gradients are seen
    `cosine_<task>_<task>`. `loss` is the weighted sum (the plain one of rules that see
    gradients), `val_loss` always the plain one: rules stay comparable.

    Raises:
        TlkitError: the network's outputs do not fit the tasks, or `balancing` is no rule.

    >>> from tlkit.techniques.multi_task import Classification, build_multi_task
    >>> tasks = {"left": Classification(3), "right": Classification(3)}
    >>> learner = MultiTask(build_multi_task("LeNet", tasks, weights=None), tasks)
    >>> learner.compile("adam")
    >>> labels = {"left": np.array([0, 1, 2, -1]), "right": np.array([0, 0, -1, 2])}  # -1: no label
    >>> history = learner.fit(np.zeros((4, 28, 28, 3)), labels, verbose=0)
    >>> sorted(history.history)[:4]
    ['left_accuracy', 'left_loss', 'left_weight', 'loss']
    """

    def __init__(
        self,
        network: keras.Model,
        tasks: Mapping[str, Task],
        balancing: Balancing | str | None = None,
        *,
        watch_gradients: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        _check_outputs(network, tasks)
        self.network = network
        self.task_table = dict(tasks)
        self.of_logits = [name for name in tasks if end_of(network, network.output[name])[1] == "linear"]
        self.balancing = resolve(BALANCINGS, balancing or "equal", Balancing, "balancing")
        self.watch_gradients = watch_gradients
        self.watches = watch_gradients or self.balancing.sees_gradients
        self.balancing.prepare(self.task_table)
        self.balancing.built = True
        self.broke = self.add_weight(
            shape=(len(tasks),), initializer="zeros", trainable=False, name="broke_first"
        )
        mean = keras.metrics.Mean
        self.measures = {name: mean(f"{name}_{task.measure}") for name, task in tasks.items()}
        self.task_loss = {name: mean(f"{name}_loss") for name in tasks}
        self.task_weight = {name: mean(f"{name}_weight") for name in tasks}
        self.pairs = list(combinations(range(len(tasks)), 2)) if self.watches else []
        names = list(tasks)
        self.cosines = [mean(f"cosine_{names[i]}_{names[j]}") for i, j in self.pairs]
        self._trains, self.regularised = True, False
        self.built = True

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks by name."""
        return self.task_table

    def compile(self, optimizer: Any = "adam", **settings: Any) -> None:
        """Set the optimizer as in Keras; losses and metrics belong to the tasks.

        Raises:
            TlkitError: a loss or metrics were given.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if settings.get(name) is not None:
                raise TlkitError(
                    f"compile was given {name}, but each task has its own loss and measure. Choose the "
                    "kind of task, and weigh them by balancing=FixedWeights({...})."
                )
        super().compile(optimizer, **settings)

    def call(self, inputs: Any, training: bool = False) -> dict[str, Any]:
        """Return what the network predicts, `{task: (n, outputs)}`; probabilities in place of logits."""
        predictions = dict(self.network(inputs, training=training))
        for name in self.of_logits:
            predictions[name] = self.task_table[name].from_logits(ops.cast(predictions[name], "float32"))
        return predictions

    def task_losses(self, y: Labels, y_pred: Labels, sample_weight: Any = None) -> Any:
        """Return the mean loss of each task over its labelled examples, float32 `(tasks,)`."""
        weight = _by_task(sample_weight)
        return ops.stack(
            [task.loss(y[name], y_pred[name], weight(name)) for name, task in self.task_table.items()]
        )

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        self._trains = training  # `compute_metrics`, which comes next, is not told
        share = replica_share()
        losses = self.task_losses(y, y_pred, sample_weight)
        for name, loss in zip(self.task_table, ops.unstack(losses / share), strict=True):
            counted = ops.sum(self.task_table[name].weights(y[name], _by_task(sample_weight)(name)))
            self.task_loss[name].update_state(loss, counted)
        if not training:
            return ops.sum(losses) + share * sum(map(ops.sum, self.losses))
        broken = ops.cast(ops.logical_not(ops.isfinite(losses)), "float32")
        before = ops.convert_to_tensor(self.broke)
        self.broke.assign(ops.where(ops.max(before) > 0, before, broken))
        if self.balancing.sees_gradients:  # `blend` adds the tasks' gradients
            total = ops.stop_gradient(ops.sum(losses))
        else:
            weights = self.balancing.weigh(losses / share)
            self._note_weights(weights)
            total = ops.sum(weights * losses) + share * self.balancing.penalty(losses)
        self.regularised = bool(self.losses)
        return total + share * sum(map(ops.sum, self.losses))

    def train_step(self, *arguments: Any) -> Any:
        return gradients.step(self, *arguments) if self.watches else super().train_step(*arguments)

    def blend(self, rows: gradients.Rows, rest: list[Any], losses: Any, scale: Any) -> list[Any]:
        """Return the gradient of each variable that learns, as the balancing wants it.

        Args:
            rows: for each task, the gradient of its loss for each variable, times `scale`.
            rest: the gradient of the total loss without what the balancing adds here.
            losses: of the tasks, `(tasks,)`.
            scale: by which mixed precision multiplies losses.
        """
        alone = of_one_alone(self._heads())
        shared = [id(each) not in alone for each in self.trainable_variables]
        products = gradients.inner_products(
            [[g for g, is_shared in zip(row, shared, strict=True) if is_shared] for row in rows]
        )
        products = products / ops.square(scale)
        for (i, j), metric in zip(self.pairs, self.cosines, strict=True):
            metric.update_state(gradients.cosines(products)[i, j])
        if not self.balancing.sees_gradients:
            return rest
        weights = self.balancing.weigh(losses / replica_share(), products)
        self._note_weights(weights)
        ones = ops.ones_like(weights)
        blended = []
        for is_shared, total, *of_tasks in zip(shared, rest, *rows, strict=True):
            chosen = weights if is_shared or self.balancing.weighs_heads else ones
            blended.append(total + sum(chosen[k] * gradient for k, gradient in enumerate(of_tasks)))
        return blended

    def measured(self, total: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> dict[str, Any]:
        """Take note of the total loss of a batch, and return all measures so far."""
        batch = ops.shape(keras.tree.flatten(x)[0])[0]
        self.metrics[0].update_state(total / replica_share(), sample_weight=batch)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        for name, task in self.task_table.items():
            values = task.score(task.filled(y[name]), y_pred[name])
            weight = task.weights(y[name], _by_task(sample_weight)(name))
            self.measures[name].update_state(values, weight)
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        if self._trains:
            return results
        of_training = {metric.name for metric in (*self.task_weight.values(), *self.cosines)}
        return {name: value for name, value in results.items() if name not in of_training}

    def fit(
        self,
        x: Split | Any,
        y: Labels | None = None,
        *,
        validation_data: Any = None,
        callbacks: Any = (),
        **options: Any,
    ) -> keras.callbacks.History:
        """Train as Keras does, by Adam where `compile` was not called.

        Args:
            x: inputs `(n, ...)`; or a split, whose attributes of the tasks' names are the labels and whose
                images are held in memory; or batches of `(inputs, {task: labels})`: a `tf.data.Dataset`, a
                `keras.utils.PyDataset` or a PyTorch `DataLoader`.
            y: labels by task, `(n, ...)`, as the task says; a missing one is -1 for classes, else NaN.
            validation_data: a split, or inputs and labels; or batches of these.
            callbacks, options: as in Keras. `sample_weight` is `(n,)` for all tasks, or by task. A
                `ModelCheckpoint` saves the network. `batch_size` counts where no batches are given.

        Raises:
            UnknownNameError: labels for a task that there is not.
            DataError: a task has no labels at all, or inputs or labels do not fit; of batches the first one
                is looked at.
            TlkitError: a loss became NaN, and which; the network then has the weights of the last epoch
                without. Or the rule needs gradients of shared layers and none can learn.
        """
        if self.balancing.sees_gradients and not self._shared_layers_learn():
            raise TlkitError(
                f"{type(self.balancing).__name__} balances gradients in the shared layers, but none of these "
                "can learn. Unfreeze a stage, or build the network with sharing=HardSharing(width=256)."
            )
        if not self.compiled:
            self.compile()
        x, y = self._checked(x, y, "x")
        if validation_data is not None:
            held_out, labels, weights = keras.utils.unpack_x_y_sample_weight(validation_data)
            held_out, labels = self._checked(held_out, labels, "validation_data")
            validation_data = keras.utils.pack_x_y_sample_weight(held_out, labels, weights)
        if self.steps == 0:
            self.balancing.restart()
        self.broke.assign(np.zeros(self.broke.shape))
        # first the balancing, whose state a backup keeps
        watch = [_EpochEnds(self), *saving(callbacks, self.network), self._stop_at_nan()]
        make_state(self)
        return super().fit(x, y, validation_data=validation_data, callbacks=watch, **options)

    def evaluate(self, x: Any = None, y: Labels | None = None, **options: Any) -> Any:
        """Measure as Keras does; inputs and labels as for `fit`."""
        if not self.compiled:
            self.compile()
        if "_use_cached_eval_dataset" not in options:  # else it is called by `fit`, which has looked at them
            x, y = self._checked(x, y, "x")
        return super().evaluate(x, y, **options)

    def _checked(self, x: Any, y: Labels | None, name: str) -> tuple[Any, Labels | None]:
        """Return inputs and labels as Keras takes them, or batches of both."""
        if isinstance(x, Split):
            x, y = x.images, y or labels_for(x, self.task_table)
        if is_batches(x):
            self._check_inputs(first_inputs(x, self.task_table, name), name)
            return x, y
        if y is None:
            if hasattr(x, "shape") or isinstance(x, tuple | list):
                raise DataError(f"{name} has no labels beside it; expected inputs, {{task: labels}}.")
            return x, None
        self._check_inputs(x, name)
        return x[:] if isinstance(x, ImageFiles) else x, checked_labels(y, self.task_table, len(x))

    def _check_inputs(self, inputs: Any, name: str) -> None:
        expected, shape = tuple(self.network.inputs[0].shape[1:]), tuple(np.shape(inputs)[1:])
        if not fits(shape, expected):
            raise DataError(
                f"The inputs of {name} have shape {shape}, and {self.network.name!r} takes {expected}. Load "
                "images with image_size=, or build the network for theirs."
            )

    def _stop_at_nan(self) -> StopAtNaN:
        terms = {f"{name}_loss": f"the loss of task {name!r}" for name in self.task_table}

        def first() -> list[str]:
            broken = np.flatnonzero(ops.convert_to_numpy(self.broke))
            return [list(terms)[i] for i in broken]

        return StopAtNaN(self.network, terms, "Look at its labels, or use a smaller learning rate.", first)

    def _heads(self) -> list[keras.Layer]:
        return [end_of(self.network, self.network.output[name])[0] for name in self.task_table]

    def _shared_layers_learn(self) -> bool:
        alone = of_one_alone(self._heads())
        return any(id(each) not in alone for each in self.network.trainable_variables)

    def _note_weights(self, weights: Any) -> None:
        for metric, weight in zip(self.task_weight.values(), ops.unstack(weights), strict=True):
            metric.update_state(weight)


class _EpochEnds(keras.callbacks.Callback):
    """Tell the balancing the mean losses of an epoch."""

    def __init__(self, learner: MultiTask) -> None:
        super().__init__()
        self.learner = learner

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        losses = [(logs or {})[f"{name}_loss"] for name in self.learner.task_table]
        self.learner.balancing.epoch_ended(losses)


def _by_task(sample_weight: Any) -> Callable[[str], Any]:
    """Return the weights of the examples for a task; Keras copies those for all tasks into a dictionary."""
    return sample_weight.get if isinstance(sample_weight, dict) else lambda name: sample_weight


def _check_outputs(network: keras.Model, tasks: Mapping[str, Task]) -> None:
    output = functional(network).output
    outputs = output if isinstance(output, dict) else {}
    for name in {*tasks} ^ {*outputs}:
        raise TlkitError(
            f"Task {name!r} is {'no output of the network' if name in tasks else 'not among the tasks'}. "
            f"The network answers {', '.join(outputs) or 'one thing only'}; there are {', '.join(tasks)}. "
            "Build it with an output for each task: keras.Model(inputs, {task: output})."
        )
    for name, task in tasks.items():
        shape = tuple(outputs[name].shape)
        if len(shape) != 2 or shape[1] != task.outputs:
            raise TlkitError(
                f"The network gives {shape} for task {name!r}; expected (None, {task.outputs}) for a task of "
                f"{task.outputs} outputs. Build the head with task.head(name)."
            )
