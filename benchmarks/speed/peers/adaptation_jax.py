"""DANN and Deep CORAL as one writes them by hand for JAX: a jitted step on Keras's stateless calls."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from peers.sides import BATCH, Loop


class JaxLoop(Loop):
    """The examples are on the device, a step gathers its batch, and the state is donated."""

    def __init__(self, method: str, given: str, epochs: int) -> None:
        super().__init__(method, given, epochs)
        self.examples = [jnp.asarray(self.given[name]) for name in ("xs", "ys", "xt")]
        self.jitted = jax.jit(self.update, donate_argnums=0)
        self.state: Any = None

    def step(self, i: np.ndarray, j: np.ndarray, strength: np.float32) -> Any:
        if self.state is None:
            fixed = self.encoder.non_trainable_variables
            held = (self.learned, fixed, self.optimizer.variables)
            self.state = [[jnp.array(v.value) for v in variables] for variables in held]
        self.state, loss = self.jitted(self.state, self.examples, i, j, strength)
        return loss

    def synced(self) -> None:
        assert self.state is not None
        jax.block_until_ready(self.state)
        fixed = self.encoder.non_trainable_variables
        held = (self.learned, fixed, self.optimizer.variables)
        for variables, values in zip(held, self.state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(jnp.array(value))  # a copy: the next step donates the value

    def start(self) -> None:
        super().start()
        self.state = None

    def update(self, state: Any, examples: Any, i: Any, j: Any, strength: Any) -> Any:
        learned, fixed, optimizer = state
        source, labels, target = (each[rows] for each, rows in zip(examples, (i, i, j), strict=True))
        gradient = jax.value_and_grad(self.loss, has_aux=True)
        (loss, fixed), gradients = gradient(learned, fixed, source, labels, target, strength)
        learned, optimizer = self.optimizer.stateless_apply(optimizer, gradients, learned)
        return [learned, fixed, optimizer], loss

    def loss(self, learned: Any, fixed: Any, source: Any, labels: Any, target: Any, strength: Any) -> Any:
        n = len(self.encoder.trainable_variables)
        encoder, last, discriminator = learned[:n], learned[n : n + 2], learned[n + 2 :]
        if self.norm:  # each domain by itself, and the statistics are the target's
            one, _ = self.encoder.stateless_call(encoder, fixed, source, training=True)
            other, fixed = self.encoder.stateless_call(encoder, fixed, target, training=True)
            features = jnp.concatenate([one, other])
        else:
            both = jnp.concatenate([source, target])
            features, fixed = self.encoder.stateless_call(encoder, fixed, both, training=True)
        probabilities, _ = self.last.stateless_call(last, [], features[:BATCH])
        right = probabilities[jnp.arange(BATCH), labels]
        loss = -jnp.mean(jnp.log(jnp.clip(right, 1e-7, 1 - 1e-7)))
        return loss + self.alignment(discriminator, features, strength), fixed

    def alignment(self, discriminator: Any, features: Any, strength: Any) -> Any:
        if self.method == "dann":
            reversed_features = jax.lax.stop_gradient((1 + strength) * features) - strength * features
            answers = self.discriminator.stateless_call(discriminator, [], reversed_features)[0][:, 0]
            errors = jax.nn.softplus(-answers[:BATCH]), jax.nn.softplus(answers[BATCH:])
            return (jnp.mean(errors[0]) + jnp.mean(errors[1])) / 2
        covariances = []
        for x in (features[:BATCH], features[BATCH:]):
            centred = x - x.mean(axis=0)
            covariances.append(centred.T @ centred / (BATCH - 1))
        return strength * jnp.square(covariances[0] - covariances[1]).sum() / (4 * features.shape[1] ** 2)
