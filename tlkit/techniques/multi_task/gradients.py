"""A training step that goes back through the network once for each task, on every backend.

Keras's own step has one loss and one gradient. Balancing by gradients needs the gradient of each task; this
is the one place that asks a backend for them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

if TYPE_CHECKING:
    from tlkit.techniques.multi_task.learner import MultiTask

Rows = list[list[Any]]  # a gradient for each variable that learns, for each task


def inner_products(rows: Rows) -> Any:
    """Return the inner products of gradients: for `(tasks)` lists of arrays, float32 `(tasks, tasks)`.

    >>> ops.convert_to_numpy(inner_products([[ops.ones((2, 2))], [ops.eye(2)]])).tolist()
    [[4.0, 2.0], [2.0, 2.0]]
    """
    products: Any = 0.0
    for gradients in zip(*rows, strict=True):
        flat = ops.stack([ops.reshape(ops.cast(each, "float32"), (-1,)) for each in gradients])
        products = products + ops.matmul(flat, ops.transpose(flat))
    return products


def cosines(products: Any) -> Any:
    """Return the cosines between gradients from their inner products; 0 for a zero gradient."""
    norms: Any = ops.sqrt(ops.diagonal(products))
    return ops.divide_no_nan(products, ops.outer(norms, norms))


def step(learner: "MultiTask", *arguments: Any) -> Any:
    """Train on one batch: takes and returns what `train_step` of this backend does."""
    return STEPS[keras.backend.backend()](learner, *arguments)


def _tensorflow(learner: "MultiTask", data: Any) -> Any:
    import tensorflow as tf

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    variables = learner.trainable_variables
    scale = learner.optimizer.scale_loss(tf.ones(()))
    with tf.GradientTape(persistent=True) as tape:
        y_pred = learner(x, training=True)
        total = learner.compute_loss(x, y, y_pred, sample_weight, training=True)
        losses = learner.task_losses(y, y_pred, sample_weight)
        scaled = [scale * each for each in (*tf.unstack(losses), total)]
    *rows, rest = [_whole(tape.gradient(each, variables), variables) for each in scaled]
    del tape
    gradients = learner.blend(rows, rest, losses, scale)
    learner.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return learner.measured(total, x, y, y_pred, sample_weight)


def _jax(learner: "MultiTask", state: Any, data: Any) -> Any:
    import jax

    trainable, fixed, optimizer, measured = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with keras.StatelessScope(state_mapping=list(zip(learner.optimizer.variables, optimizer, strict=True))):
        scale = learner.optimizer.scale_loss(ops.ones(()))

    def all_losses(trainable: Any) -> Any:
        total, (unscaled, y_pred, updated, measures) = learner.compute_loss_and_updates(
            trainable, fixed, measured, x, y, sample_weight, training=True, optimizer_variables=optimizer
        )
        losses = learner.task_losses(y, y_pred, sample_weight)
        return [*(scale * losses[i] for i in range(losses.shape[0])), total], (
            losses,
            unscaled,
            y_pred,
            updated,
            measures,
        )

    values, backward, (losses, total, y_pred, fixed, measured) = jax.vjp(all_losses, trainable, has_aux=True)

    def row(index: int) -> Any:
        return backward([ops.full((), float(i == index)) for i in range(len(values))])[0]

    rows = [row(index) for index in range(len(values) - 1)]
    if learner.balancing.sees_gradients and not learner.regularised:  # XLA would go back for zeros too
        rest = [ops.zeros_like(each) for each in rows[0]]
    else:
        rest = row(len(values) - 1)
    variables = learner.non_trainable_variables + learner.metrics_variables
    with keras.StatelessScope(list(zip(variables, [*fixed, *measured], strict=True))) as scope:
        gradients = learner.blend(rows, rest, losses, scale)
        logs = learner.measured(total, x, y, y_pred, sample_weight)
    fixed, measured = (
        [scope.get_current_value(each) for each in group]
        for group in (learner.non_trainable_variables, learner.metrics_variables)
    )
    trainable, optimizer = learner.optimizer.stateless_apply(optimizer, gradients, trainable)
    return logs, (trainable, fixed, optimizer, measured)


def _torch(learner: "MultiTask", data: Any) -> Any:
    import torch

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    variables = learner.trainable_variables
    values = [variable.value for variable in variables]
    y_pred = learner(x, training=True)
    total = learner.compute_loss(x, y, y_pred, sample_weight, training=True)
    losses = learner.task_losses(y, y_pred, sample_weight)
    scale = learner.optimizer.scale_loss(torch.ones(()))

    def row(loss: Any) -> list[Any]:
        options = {"retain_graph": True, "allow_unused": True}
        connected = loss.requires_grad
        found = torch.autograd.grad(scale * loss, values, **options) if connected else [None] * len(values)
        return _whole(found, values)

    *rows, rest = [row(each) for each in (*losses, total)]
    with torch.no_grad():
        learner.optimizer.apply(learner.blend(rows, rest, losses.detach(), scale), variables)
    return learner.measured(total.detach(), x, y, y_pred, sample_weight)


def _whole(gradients: Any, variables: Any) -> list[Any]:
    pairs = zip(gradients, variables, strict=True)
    return [ops.zeros_like(variable) if gradient is None else gradient for gradient, variable in pairs]


STEPS: dict[str, Callable[..., Any]] = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
