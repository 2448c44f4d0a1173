"""A data set of tensorflow-datasets that is made here; test_load.py runs this in a process of its own."""

import numpy as np
import tensorflow_datasets as tfds

from tlkit.data import load


class Parity(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        label = tfds.features.ClassLabel(names=["even", "odd"])
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, download):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(20):
            yield i, {"image": np.full((6, 9, 3), i, "uint8"), "label": i % 2}


print(load("tfds:parity", image_size=4).card.counts)
