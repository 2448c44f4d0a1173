"""The thousand ImageNet classes have names, and a pretrained network finds them in photographs."""

import pytest
from pushes import full

import tlkit
from tlkit.backbones import imagenet_classes
from tlkit.data import photos
from tlkit.errors import DataError, TlkitError, WeightsError


def test_every_class_has_a_name_of_its_own():
    assert len(imagenet_classes()) == len(set(imagenet_classes())) == 1000
    assert all(name == name.strip() and "_" not in name for name in imagenet_classes())
    assert [imagenet_classes()[i] for i in (0, 134, 517, 999)] == [
        *("tench", "crane (bird)", "crane (machine)", "toilet tissue")
    ]


def test_the_content_of_photographs_is_among_the_five_most_probable_classes():
    found = dict(zip(photos().names, tlkit.predict_imagenet(photos()), strict=True))
    names = {photo: [name for name, _ in classes] for photo, classes in found.items()}
    assert "palace" in names["china"]
    assert "Egyptian cat" in names["chelsea"]
    assert "espresso" in names["coffee"]
    for classes in found.values():
        probabilities = [probability for _, probability in classes]
        assert probabilities == sorted(probabilities, reverse=True)
        assert len(classes) == 5
        assert 0 < sum(probabilities) <= 1


@full
def test_a_network_of_another_size_takes_arrays():
    (classes,) = tlkit.predict_imagenet(photos(128).images[3:4], top=1)
    assert len(classes) == 1


@pytest.mark.parametrize("top", [0, 1001])
def test_an_impossible_number_of_classes_is_refused(top):
    with pytest.raises(TlkitError, match=f"top={top} was given; expected 1 to 1000"):
        tlkit.predict_imagenet(photos(), top=top)


def test_a_network_without_imagenet_weights_is_refused():
    with pytest.raises(WeightsError, match="no ImageNet weights"):
        tlkit.predict_imagenet(photos(28), backbone="LeNet")


def test_photographs_have_names_and_any_size():
    assert photos(32).names.tolist() == ["china", "flower", "astronaut", "chelsea", "coffee", "rocket"]
    assert not photos(32).labelled
    with pytest.raises(DataError, match="image_size=0 was given"):
        photos(0)
