"""The base class of models that train another model: saving and loading, and batches as input."""

import inspect
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from tlkit.data.batches import plain_errors
from tlkit.data.labelled import is_batches

BETTER = {"accuracy": "max", "loss": "min", "error": "min"}  # by the last word of a metric's name


class Configured:
    """An object that Keras can save, since it stores each constructor argument as an attribute.

    The attribute has the name of the argument. `type(x).from_config(x.get_config())` makes an equal object.

    >>> class Blend(Configured, keras.Layer):
    ...     def __init__(self, alpha=0.5, **options):
    ...         super().__init__(**options)
    ...         self.alpha = alpha
    >>> Blend.from_config(Blend(0.3).get_config()).alpha
    0.3
    """

    def get_config(self) -> dict[str, Any]:
        """Return the constructor arguments as plain values that Keras writes into a file.

        The arguments of the base class are included if the constructor forwards `*args` or `**options`.
        """
        arguments = {name: getattr(self, name) for name in _arguments(type(self))}
        inherited: dict[str, Any] = getattr(super(), "get_config", dict)()
        return {**inherited, **keras.saving.serialize_keras_object(arguments)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make an object from the arguments that `get_config` returned."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _arguments(kind: type) -> Iterator[str]:
    """Yield the names of the constructor arguments, including those forwarded to base classes of ours."""
    for each in kind.__mro__:
        if each.__module__.startswith("keras."):
            return
        if "__init__" not in vars(each):
            continue
        parameters = list(inspect.signature(each.__init__).parameters.values())[1:]  # type: ignore[misc]
        named = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        yield from named
        if len(named) == len(parameters):  # the constructor forwards nothing
            return


class Learner(Configured, keras.Model):
    """A model that trains another model.

    `save` stores the whole learner, so training can resume after loading. To store only the trained network,
    as a plain Keras model, save that network instead.
    """

    @property
    def steps(self) -> int:
        """Number of training steps so far."""
        return int(ops.convert_to_numpy(ops.convert_to_tensor(self.optimizer.iterations)))

    def fit(self, *arguments: Any, **options: Any) -> keras.callbacks.History:
        """Train as Keras does. Batches keep their size, and their order if it is already random."""
        x = [*arguments, options.get("x")][0]
        if is_batches(x):
            in_order = isinstance(x, keras.utils.PyDataset) and not getattr(x, "shuffle", False)
            options = {"shuffle": in_order} | options | {"batch_size": None}
        for each in options.get("callbacks") or ():
            _set_direction(getattr(each, "callback", each))  # within `ForModel`
        with plain_errors(x):
            return super().fit(*arguments, **options)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a loaded learner as before, and build its optimizer, so that its state can be loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def _set_direction(callback: keras.callbacks.Callback) -> None:
    """Set the direction of a callback that monitors one of our metrics, which Keras cannot know."""
    better = BETTER.get(getattr(callback, "monitor", "").split("_")[-1])
    if getattr(callback, "mode", None) == "auto" and better is not None:
        callback.mode = better
