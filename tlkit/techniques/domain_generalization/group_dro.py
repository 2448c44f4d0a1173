"""GroupDRO: minimise the loss of the worst domain, by weights that follow the losses."""

from typing import Any

import keras
from keras import ops

from tlkit.techniques.domain_generalization.training import ERM
from tlkit.techniques.learners import Learner


class GroupDROTraining(ERM):
    """Train with `GroupDRO`: domains with a higher loss get a larger weight.

    Sagawa et al. 2020, "Distributionally Robust Neural Networks for Group Shifts".

    Args:
        step_size: see `GroupDRO`.
    """

    def __init__(self, step_size: float = 0.01) -> None:
        self.step_size = step_size

    def learner(self, network: keras.Model, domains: int) -> keras.Model:
        return GroupDRO(network, domains, self.step_size)


class GroupDRO(Learner):
    """Group distributionally robust optimisation of a network over several domains.

    In each step, with L_d the mean loss of domain d in the batch and s the step size:

        q_d <- q_d exp(s L_d) / sum_e q_e exp(s L_e),   loss = sum_d q_d L_d

    If all losses are equal, the weights q stay as they are. With equal weights, the loss is the mean over all
    examples. Sagawa et al.
    2020, "Distributionally Robust Neural Networks for Group Shifts".

    Args:
        network: from inputs to class probabilities or logits; it is trained.
        domains: number of domains. A batch holds equally many examples of each, domain after domain, as those
            of `DomainBatches` do; so the batch size is a multiple of it.
        step_size: s, above 0.

    Attributes:
        q: the weight of each domain, float32 `(domains,)`; they sum to 1. Each `fit` starts with
            equal weights.
    """

    def __init__(self, network: keras.Model, domains: int, step_size: float = 0.01, **options: Any) -> None:
        super().__init__(**options)
        self.network, self.domains, self.step_size = network, domains, step_size
        equal = keras.initializers.Constant(1 / domains)
        self.q = self.add_weight(shape=(domains,), initializer=equal, trainable=False, name="q")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.network(x, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        each = super().compute_loss
        weights = sample_weight if sample_weight is None else ops.split(sample_weight, self.domains)
        parts = zip(
            ops.split(y, self.domains),
            ops.split(y_pred, self.domains),
            weights or [None] * self.domains,
            strict=True,
        )
        losses = ops.stack([each(x, *part, training=training) for part in parts])
        if training:
            raised = self.q * ops.exp(self.step_size * ops.stop_gradient(losses))
            self.q.assign(raised / ops.sum(raised))
        return ops.sum(ops.stop_gradient(ops.convert_to_tensor(self.q)) * losses)

    def fit(self, *arguments: Any, **options: Any) -> keras.callbacks.History:
        """Train as Keras does, from equal weights of the domains."""
        self.q.assign(ops.full((self.domains,), 1 / self.domains))
        return super().fit(*arguments, **options)
