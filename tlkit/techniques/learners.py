"""What learners share: how Keras saves and loads them and their parts, and how they take batches."""

import inspect
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from tlkit.data.batches import plain_errors
from tlkit.data.labelled import is_batches

BETTER = {"accuracy": "max", "loss": "min", "error": "min"}  # by the last word of a measure's name


class Configured:
    """An object that keeps each argument of its constructor as an attribute of the same name.

    So Keras can save it and make an equal one: `type(x).from_config(x.get_config())`.

    >>> class Blend(Configured, keras.Layer):
    ...     def __init__(self, alpha=0.5, **options):
    ...         super().__init__(**options)
    ...         self.alpha = alpha
    >>> Blend.from_config(Blend(0.3).get_config()).alpha
    0.3
    """

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor as plain values that Keras writes into a file.

        A constructor that passes `*args` or `**options` on has those of the class above it, too.
        """
        given = {name: getattr(self, name) for name in _arguments(type(self))}
        inherited: dict[str, Any] = getattr(super(), "get_config", dict)()
        return {**inherited, **keras.saving.serialize_keras_object(given)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make an object of the arguments that `get_config` returned."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _arguments(kind: type) -> Iterator[str]:
    for each in kind.__mro__:
        if each.__module__.startswith("keras."):
            return
        if "__init__" not in vars(each):
            continue
        parameters = list(inspect.signature(each.__init__).parameters.values())[1:]  # type: ignore[misc]
        named = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        yield from named
        if len(named) == len(parameters):  # nothing is passed on
            return


class Learner(Configured, keras.Model):
    """A model that trains another one. `save` keeps all of it, so that a training can go on after a load.

    To save the trained network alone, as plain Keras, save that network.
    """

    @property
    def steps(self) -> int:
        """The number of steps that its optimizer has made."""
        return int(ops.convert_to_numpy(ops.convert_to_tensor(self.optimizer.iterations)))

    def fit(self, *given: Any, **options: Any) -> keras.callbacks.History:
        """Train as Keras does; batches keep their size, and their order where it is random already."""
        x = [*given, options.get("x")][0]
        if is_batches(x):
            in_order = isinstance(x, keras.utils.PyDataset) and not getattr(x, "shuffle", False)
            options = {"shuffle": in_order} | options | {"batch_size": None}
        for each in options.get("callbacks") or ():
            _set_direction(getattr(each, "callback", each))  # within `ForModel`
        with plain_errors(x):
            return super().fit(*given, **options)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a loaded learner as it was, so that the state of its optimizer can be loaded, too."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def _set_direction(callback: keras.callbacks.Callback) -> None:
    """Tell a callback whether what it watches should rise; Keras knows it of metrics given to `compile`."""
    better = BETTER.get(getattr(callback, "monitor", "").split("_")[-1])
    if getattr(callback, "mode", None) == "auto" and better is not None:
        callback.mode = better
