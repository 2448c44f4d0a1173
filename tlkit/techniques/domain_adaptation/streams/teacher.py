"""Learn from a stream by a teacher, which is the moving average of the network that learns."""

from typing import Any

import keras
from keras import ops

from tlkit.models import augmentation
from tlkit.techniques.domain_adaptation.predictions import EPSILON
from tlkit.techniques.domain_adaptation.streams.methods import BATCH, StreamMethod


class CoTTA(StreamMethod):
    """A student learns all weights from a teacher, which is the moving average of the student.

    If the classifier at the start is less certain than `certainty` on a batch, the teacher's prediction is
    averaged over augmented views. The teacher's predictions are the answer. After each step, a few weights of
    the student return to the start. The student takes over the teacher's statistics of the stream.

    Wang et al. 2022, "Continual Test-Time Domain Adaptation".

    Args:
        learning_rate: see `StreamMethod`.
        momentum: of the moving average, for 64 images, 0 to 1.
        restored: fraction of the weights that return to the start after 64 images, 0 to 1.
        certainty: mean probability of the predicted class below which views are averaged, 0 to 1.
        views: number of augmented views; 32 in the paper.
        seed: of the views and of the weights that return.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        momentum: float = 0.99,
        restored: float = 0.01,
        certainty: float = 0.9,
        views: int = 2,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum, self.restored, self.certainty, self.views = momentum, restored, certainty, views
        self.random = keras.random.SeedGenerator(seed)
        self.augment = augmentation(strength=0.5, flip=False)
        for number, layer in enumerate(self.augment.layers):
            layer.generator = keras.random.SeedGenerator(seed + number + 1)

    @property
    def predictor(self) -> keras.Model:
        return self.teacher

    def prepare(self, network: keras.Model, copy: keras.Model, source: Any) -> None:
        self.network, self.teacher = network, copy
        self.start = [ops.convert_to_numpy(each).copy() for each in network.trainable_variables]
        self.anchor = keras.models.clone_model(network)
        self.anchor.set_weights(network.get_weights())
        self.teacher.trainable = self.anchor.trainable = False

    def answer(self, images: Any, probabilities: Any) -> Any:
        certain = ops.mean(ops.max(self.anchor(images, training=False), axis=-1))
        changed = [self.augment(images, training=True) for _ in range(self.views)]
        views = sum(self.teacher(each, training=False) for each in changed) / self.views
        return ops.where(certain < self.certainty, views, probabilities)

    def loss(self, answers: Any, probabilities: Any) -> Any:
        return -ops.sum(answers * ops.log(probabilities + EPSILON)) / BATCH

    def after(self, n: int) -> None:
        moved, chance = 1.0 - self.momentum ** (n / BATCH), self.restored * n / BATCH
        learned = {id(each) for each in self.network.trainable_variables}
        start = iter(self.start)
        for student, teacher in zip(self.network.variables, self.teacher.variables, strict=True):
            if id(student) not in learned:  # statistics
                student.assign(teacher)
                continue
            teacher.assign(teacher + moved * (student - teacher))
            back = keras.random.uniform(student.shape, seed=self.random) < chance
            student.assign(ops.where(back, next(start), ops.convert_to_tensor(student)))
