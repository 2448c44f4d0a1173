"""A training step with one backward pass per task, for each backend.

The training step of Keras computes the gradient of a single loss. Some balancing rules need the gradient of
each task, which only the backends can compute; all backend-specific code of this package is in this module.
"""

from collections.abc import Callable
from typing import Any, Protocol

import keras
from keras import ops

Gradients = list[list[Any]]  # for each task, the gradient of each trainable variable


class TaskLearner(Protocol):
    """The parts of a multi-task learner, a `keras.Model`, that a training step uses."""

    @property
    def optimizer(self) -> Any: ...
    @property
    def trainable_variables(self) -> Any: ...
    @property
    def non_trainable_variables(self) -> Any: ...
    @property
    def metrics_variables(self) -> Any: ...
    @property
    def total_has_gradient(self) -> bool:
        """Whether the total loss has a gradient, besides those of the task losses."""

    def __call__(self, inputs: Any, *, training: bool) -> Any: ...
    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any: ...
    def compute_loss_and_updates(self, *arguments: Any, **options: Any) -> Any:
        """Return the total loss and the updated state, as Keras defines it for JAX."""

    def task_losses(self, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Return the loss of each task, `(tasks,)`."""

    def combine(self, per_task: Gradients, of_total: list[Any], losses: Any, scale: Any) -> list[Any]:
        """Return the gradient of each trainable variable, from those of the tasks and of the total loss."""

    def update_metrics(self, total: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Add a batch to the metrics, and return their values."""


def inner_products(per_task: Gradients) -> Any:
    """Return the inner products of the gradients of all pairs of tasks, float32 `(tasks, tasks)`.

    >>> ops.convert_to_numpy(inner_products([[ops.ones((2, 2))], [ops.eye(2)]])).tolist()
    [[4.0, 2.0], [2.0, 2.0]]
    """
    products: Any = 0.0
    for gradients in zip(*per_task, strict=True):
        flat = ops.stack([ops.reshape(ops.cast(each, "float32"), (-1,)) for each in gradients])
        products = products + ops.matmul(flat, ops.transpose(flat))
    return products


def cosines(products: Any) -> Any:
    """Return the cosines between gradients, from their inner products; 0 for a zero gradient."""
    norms: Any = ops.sqrt(ops.diagonal(products))
    return ops.divide_no_nan(products, ops.outer(norms, norms))


def step(learner: TaskLearner, *arguments: Any) -> Any:
    """Train on one batch. Arguments and result are those of `train_step` of the current backend."""
    return STEPS[keras.backend.backend()](learner, *arguments)


def _tensorflow(learner: TaskLearner, data: Any) -> Any:
    import tensorflow as tf

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    variables = learner.trainable_variables
    scale = learner.optimizer.scale_loss(tf.ones(()))
    with tf.GradientTape(persistent=True) as tape:
        y_pred = learner(x, training=True)
        total = learner.compute_loss(x, y, y_pred, sample_weight, training=True)
        losses = learner.task_losses(y, y_pred, sample_weight)
        scaled = [scale * each for each in (*tf.unstack(losses), total)]
    *per_task, of_total = [_filled(tape.gradient(each, variables), variables) for each in scaled]
    del tape
    gradients = learner.combine(per_task, of_total, losses, scale)
    learner.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return learner.update_metrics(total, x, y, y_pred, sample_weight)


def _jax(learner: TaskLearner, state: Any, data: Any) -> Any:
    import jax

    trainable, fixed, optimizer, metrics = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with keras.StatelessScope(state_mapping=list(zip(learner.optimizer.variables, optimizer, strict=True))):
        scale = learner.optimizer.scale_loss(ops.ones(()))

    def all_losses(trainable: Any) -> Any:
        total, (unscaled, y_pred, fixed_after, metrics_after) = learner.compute_loss_and_updates(
            trainable, fixed, metrics, x, y, sample_weight, training=True, optimizer_variables=optimizer
        )
        losses = learner.task_losses(y, y_pred, sample_weight)
        scaled = [scale * losses[i] for i in range(losses.shape[0])]
        return [*scaled, total], (losses, unscaled, y_pred, fixed_after, metrics_after)

    values, backward, (losses, total, y_pred, fixed, metrics) = jax.vjp(all_losses, trainable, has_aux=True)

    def gradient_of(index: int) -> Any:
        return backward([ops.full((), float(i == index)) for i in range(len(values))])[0]

    per_task = [gradient_of(index) for index in range(len(values) - 1)]
    if learner.total_has_gradient:
        of_total = gradient_of(len(values) - 1)
    else:  # XLA would run a backward pass for a gradient of zeros too
        of_total = [ops.zeros_like(each) for each in per_task[0]]
    variables = learner.non_trainable_variables + learner.metrics_variables
    with keras.StatelessScope(list(zip(variables, [*fixed, *metrics], strict=True))) as scope:
        gradients = learner.combine(per_task, of_total, losses, scale)
        logs = learner.update_metrics(total, x, y, y_pred, sample_weight)
    fixed, metrics = (
        [scope.get_current_value(each) for each in group]
        for group in (learner.non_trainable_variables, learner.metrics_variables)
    )
    trainable, optimizer = learner.optimizer.stateless_apply(optimizer, gradients, trainable)
    return logs, (trainable, fixed, optimizer, metrics)


def _torch(learner: TaskLearner, data: Any) -> Any:
    import torch

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    variables = learner.trainable_variables
    values = [variable.value for variable in variables]
    y_pred = learner(x, training=True)
    total = learner.compute_loss(x, y, y_pred, sample_weight, training=True)
    losses = learner.task_losses(y, y_pred, sample_weight)
    scale = learner.optimizer.scale_loss(torch.ones(()))

    def gradient_of(loss: Any) -> list[Any]:
        options = {"retain_graph": True, "allow_unused": True}
        connected = loss.requires_grad
        found = torch.autograd.grad(scale * loss, values, **options) if connected else [None] * len(values)
        return _filled(found, values)

    *per_task, of_total = [gradient_of(each) for each in (*losses, total)]
    with torch.no_grad():
        gradients = learner.combine(per_task, of_total, losses.detach(), scale)
        learner.optimizer.apply(gradients, variables)
    return learner.update_metrics(total.detach(), x, y, y_pred, sample_weight)


def _filled(gradients: Any, variables: Any) -> list[Any]:
    """Return the gradients, with zeros for variables that have none."""
    pairs = zip(gradients, variables, strict=True)
    return [ops.zeros_like(variable) if gradient is None else gradient for gradient, variable in pairs]


STEPS: dict[str, Callable[..., Any]] = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
