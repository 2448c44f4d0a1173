"""The page of a study of dataset size: its answer follows from the table."""

import numpy as np
import pandas as pd
import pytest
from tlkit.reports.findings_dataset_size import findings

SIZES = (20, 40, 80, 160, 320, 640)


def table(law, seeds=(0, 1, 2), arms=("scratch", "fine-tuning"), sizes=SIZES):
    """A study in which fine-tuning follows `law` and scratch stays 0.2 below."""
    rng = np.random.default_rng(0)
    rows = [
        (arm, size, seed, float(law(size)) - 0.2 * (arm == "scratch") + rng.normal(0, 0.004))
        for arm in arms
        for size in sizes
        for seed in seeds
    ]
    return pd.DataFrame(rows, columns=["arm", "labels", "seed", "accuracy"])


def rising(labels):
    return 1 - (0.05 + labels**-0.4)


def test_the_answer_is_how_many_more_labels_the_best_technique_needs(digits):
    found = findings(table(rising), digits, backbone="LeNet", aim=0.9)
    needed = 0.05 ** (-1 / 0.4)
    assert found.answer.startswith("Fine-tuning reaches 88% with 640 labels; for 90% it would take about")
    assert found.numbers["forecast"]["labels_for_aim"] == pytest.approx(needed, rel=0.3)
    assert found.numbers["forecast"]["low"] < needed < found.numbers["forecast"]["high"]
    assert found.numbers["best"] == "fine-tuning"
    assert [part.title for part in found.parts] == [
        "Accuracy by labels",
        "What transfer is worth",
        "How many labels would be needed",
    ]
    assert found.cautions == []


def test_what_is_reached_already_needs_no_more(digits):
    found = findings(table(rising), digits, backbone="LeNet", aim=0.7)
    assert "for 70% about 32 are enough" in found.answer
    assert found.numbers["forecast"]["labels_for_aim"] < 640


def test_a_curve_that_levels_off_is_said_to(digits):
    found = findings(table(lambda n: 0.8 - n**-1.0), digits, backbone="LeNet", aim=0.9)
    assert "levels off below 90%" in found.answer
    assert found.numbers["forecast"]["labels_for_aim"] == np.inf


def test_a_forecast_that_was_wrong_is_a_caution(digits):
    def bent(labels):
        return rising(labels) if labels < 300 else 0.95

    found = findings(table(bent), digits, backbone="LeNet")
    assert "The forecast was wrong where it could be checked" in found.cautions[0]


@pytest.mark.filterwarnings("ignore:With one seed")
def test_one_seed_is_a_caution_and_gives_no_intervals(digits):
    found = findings(table(rising, seeds=[0]), digits, backbone="LeNet")
    assert "the spread is unknown" in found.cautions[0]
    assert "What transfer is worth" not in [part.title for part in found.parts]


def test_three_sizes_show_the_curve_and_make_no_forecast(digits):
    found = findings(table(rising, sizes=SIZES[:3]), digits, backbone="LeNet")
    assert "measure at least four sizes" in found.answer
    assert [part.title for part in found.parts] == ["Accuracy by labels", "What transfer is worth"]
    assert found.numbers["forecast"] is None
