"""`MultiTask`: train a network with several heads on dictionaries of labels, by Keras's `fit`."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit._internal.registry import resolve
from tlkit.callbacks import StopAtNaN, saving
from tlkit.data import Split
from tlkit.errors import TlkitError
from tlkit.techniques.learners import Learner
from tlkit.techniques.multi_task import gradients
from tlkit.techniques.multi_task.balancing import Balancing
from tlkit.techniques.multi_task.heads import check_outputs, end_of, head_variables
from tlkit.techniques.multi_task.inputs import Labels, checked
from tlkit.techniques.multi_task.methods import BALANCINGS
from tlkit.techniques.multi_task.tasks import Task
from tlkit.techniques.training import make_state, replica_fraction


@keras.saving.register_keras_serializable("tlkit")
class MultiTask(Learner):
    """Train a network on several tasks at once. Labels may be missing.

    The network is trained in place and remains a plain Keras model: save it, or let `ModelCheckpoint` save
    it. Save the learner itself to resume training. To train only the heads, on extracted features, pass
    `model.get_layer("head")` as the network.

    Keras's history gets these values for each task: `<task>_loss`; `<task>_accuracy` or `<task>_error`; and
    `<task>_weight`, the mean weight over the steps (for PCGrad and CAGrad, the weight in the shared layers).
    If the gradient of each task is computed, it also gets `cosine_<task>_<task>`. `loss` is the weighted sum
    of the task losses, or their plain sum for rules that need gradients. `val_loss` is always the plain sum,
    so it can be compared across rules.

    Args:
        network: a functional model from inputs to `{task: predictions}`, such as `build_multi_task` makes.
            The predictions of classification and multi-label tasks are probabilities or logits.
        tasks: the tasks, by the names of the outputs of the network.
        balancing: the rule that combines the task losses, such as `PCGrad()`, or its name, such as
            `"pcgrad"`; by default equal weights.
        watch_gradients: record the cosine between the gradients of each pair of tasks in the shared layers.
            A step then has one backward pass per task, as with rules that need gradients.

    Raises:
        TlkitError: the outputs of the network do not fit the tasks, or there is no such rule.

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
        check_outputs(network, tasks)
        self.network = network
        self.task_table = dict(tasks)
        self.logit_tasks = [name for name in tasks if end_of(network, network.output[name])[1] == "linear"]
        self.balancing = resolve(BALANCINGS, balancing or "equal", Balancing, "balancing")
        self.watch_gradients = watch_gradients
        self.per_task_gradients = watch_gradients or self.balancing.needs_gradients
        self.balancing.prepare(self.task_table)
        self.balancing.built = True
        # 1 for each task whose loss was among the first to become NaN or infinite
        self.diverged = self.add_weight(
            shape=(len(tasks),), initializer="zeros", trainable=False, name="diverged"
        )
        mean = keras.metrics.Mean
        self.measures = {name: mean(f"{name}_{task.measure}") for name, task in tasks.items()}
        self.task_loss = {name: mean(f"{name}_loss") for name in tasks}
        self.task_weight = {name: mean(f"{name}_weight") for name in tasks}
        self.pairs = list(combinations(range(len(tasks)), 2)) if self.per_task_gradients else []
        names = list(tasks)
        self.cosines = [mean(f"cosine_{names[i]}_{names[j]}") for i, j in self.pairs]
        self._training, self._regularised = True, False
        self.built = True

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks by name."""
        return self.task_table

    def compile(self, optimizer: Any = "adam", **settings: Any) -> None:
        """Set the optimizer as in Keras. The tasks define losses and metrics.

        Raises:
            TlkitError: a loss or metrics were given.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if settings.get(name) is not None:
                raise TlkitError(
                    f"compile was given {name}, but each task has its own loss and metric. Choose the kind "
                    "of each task, and set weights by balancing=FixedWeights({...})."
                )
        super().compile(optimizer, **settings)

    def call(self, inputs: Any, training: bool = False) -> dict[str, Any]:
        """Return the predictions `{task: (n, outputs)}`, with logits converted to probabilities."""
        predictions = dict(self.network(inputs, training=training))
        for name in self.logit_tasks:
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
        self._training = training  # for `compute_metrics`, which has no such argument
        fraction = replica_fraction()
        losses = self.task_losses(y, y_pred, sample_weight)
        for name, loss in zip(self.task_table, ops.unstack(losses / fraction), strict=True):
            labelled = ops.sum(self.task_table[name].weights(y[name], _by_task(sample_weight)(name)))
            self.task_loss[name].update_state(loss, labelled)
        if not training:
            return ops.sum(losses) + fraction * sum(map(ops.sum, self.losses))
        not_finite = ops.cast(ops.logical_not(ops.isfinite(losses)), "float32")
        before = ops.convert_to_tensor(self.diverged)
        self.diverged.assign(ops.where(ops.max(before) > 0, before, not_finite))
        if self.balancing.needs_gradients:  # `combine` adds the gradients of the tasks
            total = ops.stop_gradient(ops.sum(losses))
        else:
            weights = self.balancing.weigh(losses / fraction)
            self._record_weights(weights)
            total = ops.sum(weights * losses) + fraction * self.balancing.penalty(losses)
        self._regularised = bool(self.losses)
        return total + fraction * sum(map(ops.sum, self.losses))

    def train_step(self, *arguments: Any) -> Any:
        if self.per_task_gradients:
            return gradients.step(self, *arguments)
        return super().train_step(*arguments)

    @property
    def total_has_gradient(self) -> bool:
        """Whether the total loss has a gradient: with a rule that needs none, or with a regulariser."""
        return not self.balancing.needs_gradients or self._regularised

    def combine(
        self, per_task: gradients.Gradients, of_total: list[Any], losses: Any, scale: Any
    ) -> list[Any]:
        """Combine the gradients of the tasks by the balancing rule.

        Args:
            per_task: for each task, the gradient of its loss with respect to each trainable variable, times
                `scale`.
            of_total: the gradient of the total loss, to which those of the tasks are added.
            losses: the losses of the tasks, `(tasks,)`.
            scale: the factor by which mixed precision scales losses.

        Returns:
            The gradient of each trainable variable.
        """
        shared = self._are_shared(self.trainable_variables)
        products = gradients.inner_products(
            [[g for g, is_shared in zip(task, shared, strict=True) if is_shared] for task in per_task]
        )
        products = products / ops.square(scale)
        for (i, j), metric in zip(self.pairs, self.cosines, strict=True):
            metric.update_state(gradients.cosines(products)[i, j])
        if not self.balancing.needs_gradients:
            return of_total
        weights = self.balancing.weigh(losses / replica_fraction(), products)
        self._record_weights(weights)
        ones = ops.ones_like(weights)
        combined = []
        for is_shared, total, *of_tasks in zip(shared, of_total, *per_task, strict=True):
            chosen = weights if is_shared or self.balancing.weighs_heads else ones
            combined.append(total + sum(chosen[k] * gradient for k, gradient in enumerate(of_tasks)))
        return combined

    def update_metrics(self, total: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> dict[str, Any]:
        """Add the total loss and the predictions of a batch to the metrics, and return their values."""
        batch = ops.shape(keras.tree.flatten(x)[0])[0]
        self.metrics[0].update_state(total / replica_fraction(), sample_weight=batch)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        for name, task in self.task_table.items():
            values = task.score(task.filled(y[name]), y_pred[name])
            weight = task.weights(y[name], _by_task(sample_weight)(name))
            self.measures[name].update_state(values, weight)
        results = super().compute_metrics(x, y, y_pred, sample_weight)
        if self._training:
            return results
        training_only = {metric.name for metric in (*self.task_weight.values(), *self.cosines)}
        return {name: value for name, value in results.items() if name not in training_only}

    def fit(
        self,
        x: Split | Any,
        y: Labels | None = None,
        *,
        validation_data: Any = None,
        callbacks: Any = (),
        **options: Any,
    ) -> keras.callbacks.History:
        """Train as Keras does; with Adam if the learner is not compiled.

        Args:
            x: inputs `(n, ...)`; or a split, whose attributes with the names of the tasks are the labels, and
                whose images are loaded into memory; or batches of `(inputs, {task: labels})`: a
                `tf.data.Dataset`, a `keras.utils.PyDataset` or a PyTorch `DataLoader`.
            y: labels by task, `(n, ...)`; see the class of each task. A missing label is -1 for a
                classification, otherwise NaN.
            validation_data: a split, or inputs and labels, or batches of both.
            callbacks, options: as in Keras. `sample_weight` is `(n,)` for all tasks, or a dictionary by task.
                A `ModelCheckpoint` saves the network. `batch_size` is ignored if `x` consists of batches.

        Returns:
            Keras's history; see `MultiTask` for its values.

        Raises:
            UnknownNameError: there are labels for an unknown task.
            DataError: a task has no labels, or inputs or labels do not fit. Only the first of several batches
                is checked.
            TlkitError: a loss became NaN (the message names the task, and the network has the weights of the
                previous epoch), or the rule needs gradients of shared layers but none is trainable.
        """
        if self.balancing.needs_gradients and not any(self._are_shared(self.network.trainable_variables)):
            raise TlkitError(
                f"{type(self.balancing).__name__} balances gradients in the shared layers, but no shared "
                "layer is trainable. Unfreeze a stage, or build the network with "
                "sharing=HardSharing(width=256)."
            )
        if not self.compiled:
            self.compile()
        x, y = checked(self.network, self.task_table, x, y, "x")
        if validation_data is not None:
            held_out, labels, weights = keras.utils.unpack_x_y_sample_weight(validation_data)
            held_out, labels = checked(self.network, self.task_table, held_out, labels, "validation_data")
            validation_data = keras.utils.pack_x_y_sample_weight(held_out, labels, weights)
        if self.steps == 0:
            self.balancing.reset()
        self.diverged.assign(np.zeros(self.diverged.shape))
        # the balancing comes first, so that a backup includes its new state
        watching = [_EpochEnds(self), *saving(callbacks, self.network), self._stop_at_nan()]
        make_state(self)
        return super().fit(x, y, validation_data=validation_data, callbacks=watching, **options)

    def evaluate(self, x: Any = None, y: Labels | None = None, **options: Any) -> Any:
        """Evaluate as Keras does; inputs and labels as for `fit`."""
        if not self.compiled:
            self.compile()
        if "_use_cached_eval_dataset" not in options:  # otherwise `fit` calls it and has checked the data
            x, y = checked(self.network, self.task_table, x, y, "x")
        return super().evaluate(x, y, **options)

    def _stop_at_nan(self) -> StopAtNaN:
        terms = {f"{name}_loss": f"the loss of task {name!r}" for name in self.task_table}

        def first() -> list[str]:
            indices = np.flatnonzero(ops.convert_to_numpy(self.diverged))
            return [list(terms)[i] for i in indices]

        return StopAtNaN(self.network, terms, "Check its labels, or use a smaller learning rate.", first)

    def _are_shared(self, variables: list[Any]) -> list[bool]:
        """Return for each variable whether it is outside the heads, or in several of them."""
        heads = [end_of(self.network, self.network.output[name])[0] for name in self.task_table]
        of_heads = head_variables(heads)
        return [id(each) not in of_heads for each in variables]

    def _record_weights(self, weights: Any) -> None:
        for metric, weight in zip(self.task_weight.values(), ops.unstack(weights), strict=True):
            metric.update_state(weight)


class _EpochEnds(keras.callbacks.Callback):
    """Call `epoch_ended` of the balancing rule with the mean losses of each epoch."""

    def __init__(self, learner: MultiTask) -> None:
        super().__init__()
        self.learner = learner

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        losses = [(logs or {})[f"{name}_loss"] for name in self.learner.task_table]
        self.learner.balancing.epoch_ended(losses)


def _by_task(sample_weight: Any) -> Callable[[str], Any]:
    """Return a function from a task to its sample weights; Keras makes a dictionary of common weights."""
    return sample_weight.get if isinstance(sample_weight, dict) else lambda name: sample_weight
