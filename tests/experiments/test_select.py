"""The choice of a backbone, by the function and by the command."""

import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from tlkit.backbones import engines, load_backbone
from tlkit.challenges.model_selection import candidate, linear_probe, logme
from tlkit.cli import cli
from tlkit.data import Split
from tlkit.errors import DataError, NoLabelsError, TlkitError, UnknownNameError
from tlkit.experiments import select as selection
from tlkit.experiments.select import images_per_second, select
from tlkit.models import backbone_of, build_classifier
from tlkit.techniques.feature_extraction import extract


@pytest.fixture(scope="module")
def weights(tmp_path_factory, digits):
    """A LeNet that learned other digits than those of the tests."""
    import keras

    import tlkit

    source = tlkit.load("digits/mnist").train
    keras.utils.set_random_seed(0)
    model = build_classifier("LeNet", 10, weights=None)
    model.compile("adam", loss="sparse_categorical_crossentropy")
    model.fit(source.images[:2000], source.labels[:2000], verbose=0)
    path = tmp_path_factory.mktemp("weights") / "mnist.weights.h5"
    backbone_of(model).save_weights(path)
    return path


@pytest.fixture(scope="module")
def found(digits, weights):
    """LeNet with these weights and with random ones, on 200 digits; there is nothing but a train split."""
    alone = replace(digits, validation=None, test=None)
    return select(alone, [candidate("LeNet:none"), candidate(f"LeNet:{weights}")], scores="all")


def test_the_better_features_are_first_with_every_score_that_needs_no_head(found, weights):
    assert found.table["backbone"].tolist() == [f"LeNet:{weights}", "LeNet:none"]
    assert found.table["random"].tolist() == [False, True]
    assert found.recommended == f"LeNet:{weights}"
    empty = found.table.columns[found.table.isna().any()]
    timed_once = {"slowest timing", "fastest timing"}
    assert set(empty) == {"leep", "nce"} | timed_once
    assert found.images == 200
    assert found.left_out == {}


def test_values_are_those_of_the_scores_on_the_features(found, digits, weights):
    features = extract(load_backbone("LeNet", weights=weights), digits.train, keep=False)
    row = found.table.iloc[0]
    assert row["linear-probe"] == pytest.approx(linear_probe(features, digits.train.labels))
    assert row["logme"] == pytest.approx(logme(features, digits.train.labels), rel=1e-3)
    best = row["linear-probe"]
    assert found.standard_error == pytest.approx((best * (1 - best) / 200) ** 0.5)


def test_what_a_backbone_costs_stands_beside_it(found):
    assert found.table["parameters"].tolist() == [286_280] * 2
    assert found.table["megabytes"].tolist() == pytest.approx([4 * 0.286280] * 2)
    assert found.table["multiply-adds"].tolist() == [9_653_200] * 2
    assert found.table["images per second"].nunique() == 1, "the same network has the same speed"
    assert found.table["optimal"].tolist() == [True, False]
    assert found.score_seconds.drop(columns=["leep", "nce"]).notna().all(axis=None)
    assert set(found.seconds) == {"total"}


@pytest.fixture
def untimed(monkeypatch):
    """Every network has the same speed, which takes no time to measure."""
    monkeypatch.setattr(selection, "images_per_second", lambda network, split, **options: 1000.0)


def test_the_default_scores_are_those_that_take_seconds(untimed, digits):
    done = select(digits, [candidate("LeNet:none")])
    assert [*done.score_seconds] == ["backbone", "logme", "linear-probe", "knn"]


@pytest.fixture
def busy(monkeypatch):
    """A machine on which timings vary: LeNetBN is measured as faster in every second round."""
    turns = {"LeNet": itertools.cycle([1000.0, 500.0]), "LeNetBN": itertools.cycle([700.0, 1300.0])}
    order = []

    def measured(network, split, **options):
        order.append(network.name)
        return next(turns[network.name])

    monkeypatch.setattr(selection, "images_per_second", measured)
    return order


LENETS = [candidate("LeNet:none"), candidate("LeNetBN:none")]


def test_backbones_between_which_speed_decides_are_timed_in_turn(busy, digits):
    done = select(digits, LENETS, scores=["logme"], images=40)
    assert busy == ["LeNet", "LeNetBN"] * (1 + selection.ROUNDS)
    speeds = done.table.set_index("backbone").filter(regex="timing|second").to_dict("index")
    assert speeds["LeNet:none"] == {
        "images per second": 500,
        "slowest timing": 500,
        "fastest timing": 1000,
    }
    assert done.recommended == "LeNet:none"  # with fewer parameters


def test_rounds_for_which_no_time_is_left_are_left_out(busy, clock, monkeypatch, digits):
    measured = selection.images_per_second

    def slow(*given, **options):
        clock.seconds += 1
        return measured(*given, **options)

    monkeypatch.setattr(selection, "images_per_second", slow)
    done = select(digits, LENETS, scores=["logme"], images=40, time_budget=8)
    assert len(busy) < 2 * (1 + selection.ROUNDS)
    assert done.table["slowest timing"].isna().all()


def test_random_weights_come_from_the_seed(untimed, digits):
    one, again, other = (
        select(digits, [candidate("LeNet:none")], scores=["logme"], seed=seed).table["logme"].item()
        for seed in (0, 0, 1)
    )
    assert one == again != other


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves, for what `select` measures."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(selection, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def test_speed_leaves_out_the_start_of_the_engine(monkeypatch, clock, digits):
    asked = []

    def infer(network, images, precision):
        clock.seconds += 0.2
        for start in range(0, len(images), 8):
            asked.append(images[start : start + 8])
            clock.seconds += 8 / 1000

    monkeypatch.setattr(engines, "infer", infer)
    speed = images_per_second(load_backbone("LeNet", weights=None), digits.train)
    assert speed == pytest.approx(1000)
    assert {(pixels.shape[1:], pixels.dtype) for pixels in asked} == {((28, 28, 3), np.dtype("uint8"))}
    assert max(map(len, asked)) == 8


def test_speed_of_an_engine_that_takes_windows_is_that_of_the_pass(monkeypatch, clock, digits):
    def infer(network, images, precision):
        clock.seconds += len(images[0 : len(images)]) / 1000

    monkeypatch.setattr(engines, "infer", infer)
    speed = images_per_second(load_backbone("LeNet", weights=None), digits.train)
    assert speed == pytest.approx(1000)


def test_a_part_of_the_images_keeps_every_class(digits):
    part = selection.examples_of(digits, 40, seed=0)
    assert len(part) == 40
    assert np.bincount(part.labels).min() >= 2
    assert np.isin(part.names, digits.train.names).all()


def test_what_does_not_fit_the_time_is_left_out_and_said(monkeypatch, digits):
    speeds = {"LeNet": 1e6, "LeNetBN": 2.0}
    monkeypatch.setattr(
        selection, "images_per_second", lambda network, split, **options: speeds[network.name]
    )
    lines = []
    asked = [candidate("LeNet:none"), candidate("LeNetBN:none")]
    done = select(digits, asked, scores=["logme"], time_budget=60, report_line=lines.append)
    assert done.table["backbone"].tolist() == ["LeNet:none"]
    assert list(done.left_out) == ["LeNetBN:none"]
    assert "would take about 10" in done.left_out["LeNetBN:none"]  # 200 images, 2 a second
    assert any(line.startswith("LeNetBN:none: left out, would take") for line in lines)
    speeds["LeNet"] = 2.0
    with pytest.raises(TlkitError, match=r"In 60 s no backbone could be measured: LeNet:none would.*fewer"):
        select(digits, asked, scores=["logme"], time_budget=60)


def test_scores_can_be_chosen_and_the_probe_is_always_there(untimed, digits):
    done = select(digits, [candidate("LeNet:none")], scores=["knn", "KNN"])
    assert [name for name in done.table if name in done.score_seconds] == ["backbone", "knn", "linear-probe"]
    with pytest.raises(UnknownNameError, match="'logme'"):
        select(digits, scores=["logm"])


def with_labels(digits, labels):
    return replace(digits, train=Split(digits.train.images[: len(labels)], labels))


def test_data_that_nothing_can_be_chosen_by_are_refused(digits):
    lenet = [candidate("LeNet:none")]
    with pytest.raises(DataError, match="All 20 train images of digits/optical are of one class"):
        select(with_labels(digits, [3] * 20), lenet)
    with pytest.raises(DataError, match=r"1 of 10 classes have 1 train image, such as '7'.*leave these"):
        select(with_labels(digits, [3, 4] * 10 + [7]), lenet)
    with pytest.raises(DataError, match="or take more than 12 images"):
        select(digits, lenet, images=12)
    with pytest.raises(NoLabelsError):
        select(replace(digits, train=digits.train.unlabelled()), lenet)
    with pytest.raises(TlkitError, match="smallest size is 32"):
        select(digits)  # of 28 pixels, for EfficientNet


def test_notes_come_once_for_all_backbones(found):
    assert len(found.notes) == len(set(found.notes))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """`tlkit select` on a few digits: what it printed, and its folder."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    words = ["select", "digits/optical", "--images", "60", "--out", str(out), "--image-size", "32"]
    names = ["--backbones", "EfficientNetLite0,LeNet:none", "--scores", "logme,leep,h-score"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "SECONDS", 0.05)
        return CliRunner().invoke(cli, [*words, *names]), out


def test_the_command_writes_a_page_and_every_number(page):
    done, out = page
    assert done.exit_code == 0, done.output
    assert "LeNet:none: linear probe" in done.stdout
    assert "Take EfficientNetLite0: a linear head" in done.stdout
    assert "Note: The H-score of 60 examples with 1280 features" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "report.html"]
    numbers = json.loads((out / "metrics.json").read_text())
    rows = {row["backbone"]: row for row in numbers["backbones"]}
    assert set(rows) == {"EfficientNetLite0", "LeNet:none"}
    assert -np.log(10) < rows["EfficientNetLite0"]["leep"] < 0
    assert rows["LeNet:none"]["leep"] is None
    assert numbers["recommended"] == "EfficientNetLite0"
    assert "Left out" not in (out / "report.html").read_text()


def refused(*words):
    result = CliRunner().invoke(cli, ["select", *map(str, words)])
    assert isinstance(result.exception, TlkitError), result.output
    return str(result.exception)


def test_the_command_refuses_before_it_reads_anything(page, tmp_path):
    _, out = page
    assert "--overwrite" in refused("digits/optical", "--out", out)
    assert "Did you mean 'logme'" in refused("digits/optical", "--scores", "logm")
    assert "Did you mean 'EfficientNetLite1'" in refused("digits/optical", "--backbones", "EficientNetLite1")
    assert "smallest size is 32" in refused("digits/optical", "--image-size", "16")
    assert "no such file" in refused("digits/optical", "--backbones", f"LeNet:{tmp_path / 'absent.keras'}")
    assert "Did you mean 'digits/optical'" in refused("digits/optica")
    for words, said in (
        (["digits/optical", "--backbones", "LeNet:none,"], "empty name"),
        ([], "Missing argument"),
    ):
        result = CliRunner().invoke(cli, ["select", *words])
        assert result.exit_code == 2
        assert said in result.output


def test_the_list_explains_every_score_without_keras():
    listed = CliRunner().invoke(cli, ["select", "--list"]).stdout
    assert re.search(r"^logme +evidence of the labels .*\(You et al\. 2021\)$", listed, re.MULTILINE)
    assert len(listed.splitlines()) == 12
    for option, heavy in (("--help", "'keras', 'numpy', 'pandas'"), ("--list", "'keras'")):
        code = "import sys; from tlkit.cli import cli; "
        code += f"cli(['select', '{option}'], standalone_mode=False); print({{{heavy}}} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.endswith("set()\n")
