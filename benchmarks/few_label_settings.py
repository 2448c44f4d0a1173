"""Choose the settings of the heads of lesson 10 on validation images, with 80 labels and with other seeds.

    .venv/bin/python benchmarks/few_label_settings.py    # a minute; writes few_label_settings.csv

Each head gets the frozen features of 80 labelled images of solar cells, drawn with ten seeds that the lesson
does not use. A value is the mean balanced accuracy on the validation images, which the lesson never uses.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from tqdm.auto import tqdm

import tlkit
from tlkit.challenges.dataset_size import nested_indices
from tlkit.techniques.few_shot import NearestNeighbours, head

TABLE = Path(__file__).with_suffix(".csv")
SEEDS, LABELS = range(1000, 1010), 80
HEADS = {("nearest class mean", ""): lambda: head("nearest class mean")}
HEADS |= {("nearest neighbours", str(k)): lambda k=k: NearestNeighbours(k) for k in (1, 3, 5, 9, 15)}
HEADS |= {
    ("logistic regression", f"C={C:g}, {weight}"): lambda C=C, weight=weight: make_pipeline(
        Normalizer(), LogisticRegression(C=C, class_weight=weight, max_iter=1000)
    )
    for C in (0.1, 1.0, 10.0, 100.0)
    for weight in (None, "balanced")
}
HEADS["ridge", "leave-one-out"] = lambda: make_pipeline(
    Normalizer(), RidgeClassifierCV(np.logspace(-3, 2, 11), class_weight="balanced")
)


def main() -> None:
    data = tlkit.load("solar", image_size=128)
    backbone = tlkit.load_backbone("EfficientNetLite0", image_size=128)
    x, new = (tlkit.extract(backbone, split) for split in (data.train, data.validation))
    y = data.train.labels
    rows = [nested_indices(y, [LABELS], seed=seed)[LABELS] for seed in SEEDS]
    table = []
    for (name, setting), build in tqdm(HEADS.items()):
        found = [
            balanced_accuracy_score(data.validation.labels, build().fit(x[i], y[i]).predict(new))
            for i in rows
        ]
        table.append((name, setting, round(float(np.mean(found)), 4)))
    pd.DataFrame(table, columns=["head", "setting", "validation"]).to_csv(TABLE, index=False)


if __name__ == "__main__":
    main()
