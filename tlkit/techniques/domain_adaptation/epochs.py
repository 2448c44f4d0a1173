"""Run Keras's fit on pairs as fast as the backend allows.

A step on features takes less time than a call of the backend from Python. So the examples are moved to the
device once, and one call runs many steps, unless a callback must be called at every step.
"""

from collections.abc import Callable
from typing import Any

import keras

from tlkit.callbacks import watch_steps
from tlkit.techniques.domain_adaptation.pairs import Pairs

Fit = Callable[..., keras.callbacks.History]


def fit_pairs(adapter: Any, fit: Fit, pairs: Pairs, options: dict[str, Any]) -> keras.callbacks.History:
    """Call `fit` with batches of these pairs.

    Args:
        adapter: the model that is trained; it is compiled.
        fit: the `fit` of `keras.Model`, bound to it.
        pairs: both domains. They are shuffled by their own seed.
        options: `epochs`, `callbacks` and other options of `fit`. With `initial_epoch`, the pairs have the
            orders that they would have had without a stop.

    Returns:
        Keras's history.
    """
    pairs.epoch = options.get("initial_epoch", pairs.epoch)
    epochs = options["epochs"] - options.get("initial_epoch", 0)
    changed = (
        "steps_per_epoch" in options
        or epochs < 1
        or any(isinstance(each, keras.callbacks.BackupAndRestore) for each in options["callbacks"])
    )
    backend = "" if changed or not pairs.small or _is_distributed(adapter) else keras.backend.backend()
    at_once = 1 if watch_steps(options["callbacks"]) or adapter.steps_are_given else pairs.steps_at_once
    if backend == "tensorflow":
        _set_steps_per_execution(adapter, at_once)
        options["steps_per_epoch"] = len(pairs)
        return fit(pairs.tensors(epochs), shuffle=False, **options)
    compiles = adapter.jit_compile and not adapter.run_eagerly
    if backend == "jax" and at_once > 1 and compiles and not options.get("class_weight"):
        return _fit_on_jax(adapter, fit, pairs, options)
    _set_steps_per_execution(adapter, 1)
    return fit(pairs, shuffle=False, **options)


def _is_distributed(adapter: Any) -> bool:
    if keras.backend.backend() == "tensorflow":
        return bool(adapter.distribute_strategy.num_replicas_in_sync > 1)
    return keras.distribution.distribution() is not None


def _set_steps_per_execution(adapter: Any, steps: int) -> None:
    """Set how many steps Keras runs in one call of the backend, unless that was given to `compile`."""
    if not adapter.steps_are_given and steps != adapter.steps_per_execution:
        adapter.steps_per_execution = steps
        adapter.train_function = adapter.test_function = None  # Keras makes them again


def _fit_on_jax(adapter: Any, fit: Fit, pairs: Pairs, options: dict[str, Any]) -> keras.callbacks.History:
    """Run all steps of an epoch in one call of JAX."""
    import jax

    adapter._symbolic_build(data_batch=pairs[0])
    adapter.epoch_function = adapter.epoch_function or epoch_function(adapter)
    examples = jax.device_put((pairs.domains, pairs.of_source))
    compiled = adapter.epoch_function
    adapter.train_function = lambda state, batches: compiled(state, next(batches)[0], *examples)
    try:
        return fit(EpochRows(pairs), shuffle=False, **options)
    finally:
        adapter.train_function = None  # Keras makes its own again


class EpochRows(keras.utils.PyDataset):
    """The indices of the examples for every step of an epoch, as a single batch for Keras.

    The batch is `(rows,)`; `rows` gives for each domain int32 `(steps, batch size)`.

    Args:
        pairs: the pairs that are indexed.
    """

    def __init__(self, pairs: Pairs) -> None:
        super().__init__()
        self.pairs = pairs

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[dict[str, Any]]:
        return (self.pairs.rows(),)

    def on_epoch_end(self) -> None:
        self.pairs.on_epoch_end()


def epoch_function(adapter: Any) -> Callable[..., Any]:
    """Return a function that trains an epoch, compiled by JAX.

    Args:
        adapter: its `train_step` makes one step.

    Returns:
        A function of the state of Keras's training, the rows of `EpochRows`, the inputs of each domain, and
        labels and weights of the source. It returns the metrics and the new state.
    """
    import jax

    def epoch(state: Any, rows: Any, domains: Any, of_source: Any) -> Any:
        structure = jax.tree.structure(state)

        def step(leaves: Any, rows: Any) -> Any:
            inputs = {name: each[rows[name]] for name, each in domains.items()}
            batch = inputs, *(each[rows["source"]] for each in of_source)
            logs, changed = adapter.train_step(jax.tree.unflatten(structure, leaves), batch)
            return jax.tree.leaves(changed), logs

        leaves, logs = jax.lax.scan(step, jax.tree.leaves(state), rows)
        return jax.tree.map(lambda each: each[-1], logs), jax.tree.unflatten(structure, leaves)

    return jax.jit(epoch, donate_argnums=0)
