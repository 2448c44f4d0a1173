"""`tlkit generalize`: what it writes, and what it refuses."""

import pytest
from PIL import Image
from pushes import graph

from tlkit.data import load


@pytest.fixture(scope="module")
def styles(tmp_path_factory):
    """Two folders of digits: as they are, and as negatives."""
    root, train = tmp_path_factory.mktemp("data"), load("digits/optical").train
    for label in range(10):
        for i, image in enumerate(train.images[train.labels == label][:6]):
            for name, pixels in (("plain", image), ("negative", 255 - image)):
                (root / name / str(label)).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / name / str(label) / f"{i}.png")
    return root / "plain", root / "negative"


@graph
def test_it_compares_methods_and_writes_a_classifier_of_all_domains(tmp_path, styles, command, metrics):
    options = (
        "--backbone",
        "LeNet",
        "--image-size",
        28,
        "--epochs",
        1,
        "--method",
        "erm",
        "--method",
        "mixstyle",
    )
    done = command("generalize", *styles, "--out", tmp_path / "run", *options)
    assert done.exit_code == 0, done
    found = metrics(tmp_path / "run")
    assert [each["name"] for each in found["methods"]] == ["erm", "mixstyle"]
    assert set(found["methods"][0]["by_domain"]) == set(map(str, styles))
    assert f"accuracy on unseen domains: erm {found['accuracy']['erm']:.1%}" in done.stdout
    assert found["chosen"] in ("erm", "mixstyle")
    assert found["splits"] == {"train": 120, "validation": None, "test": 120}
    assert command("predict", tmp_path / "run", styles[0] / "1" / "0.png").exit_code == 0
    assert command("card", tmp_path / "run").exit_code == 0


def test_the_methods_are_listed(command):
    done = command("generalize", "--list")
    assert done.exit_code == 0
    assert "group-dro" in done.stdout
    assert "Zhou et al. 2021" in done.stdout


def test_what_cannot_be_compared_is_refused_before_anything_is_done(tmp_path, styles, refused):
    out = ("--out", tmp_path / "run")
    assert "One domain was given" in refused("generalize", styles[0], *out)
    assert "Did you mean 'erm'" in refused("generalize", *styles, *out, "--method", "ermm")
    assert not (tmp_path / "run").exists()
