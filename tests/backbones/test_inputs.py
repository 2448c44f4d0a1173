"""A backbone adapted to another image size or number of channels: kept features, warnings and errors."""

import warnings

import keras
import numpy as np
import pytest
from pushes import full

import tlkit
from tlkit import backbones
from tlkit.errors import TlkitError, TlkitWarning, WeightsError
from tlkit.models import backbone_of


@pytest.fixture(autouse=True)
def only_expected_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", TlkitWarning)
        yield


@pytest.fixture
def trained():
    """Build a backbone with random weights, including those of batch normalisation."""

    def build(name, size):
        keras.utils.set_random_seed(1)
        backbone = backbones.load_backbone(name, weights=None, image_size=size)
        rng = np.random.default_rng(1)
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
        return backbone

    return build


def images(size, channels=3, count=2):
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, channels)).astype("float32")


def grey(size, channels):
    return np.repeat(images(size, 1), channels, axis=-1)


def features(model, pixels):
    return keras.ops.convert_to_numpy(model(pixels, training=False))


def assert_close(actual, expected):
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


SMALL = [("LeNet", 28), ("LeNetBN", 28), ("EfficientNetLite0", 32)]
SMALL += [pytest.param("MobileNetV2", 32, marks=full)]


@pytest.mark.parametrize(("name", "size"), SMALL)
def test_a_grey_image_has_the_same_features_with_one_channel_and_with_three(name, size, trained):
    rgb = trained(name, size)
    one = tlkit.adapt_input(rgb, channels=1)
    assert one.input_shape == (None, size, size, 1)
    assert_close(features(one, grey(size, 1)), features(rgb, grey(size, 3)))
    three = tlkit.adapt_input(one, channels=3)
    assert_close(features(three, grey(size, 3)), features(one, grey(size, 1)))


def test_a_part_of_a_network_is_a_backbone_too(trained):
    """Its input is a list of one tensor; Keras would warn about a bare tensor."""
    network = trained("LeNet", 28)
    part = keras.Model(network.inputs, network.get_layer("pool2").output, name="part")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        grey = tlkit.adapt_input(part, image_size=40, channels=1)
    assert grey.output_shape == (None, 10, 10, part.output_shape[-1])


@pytest.mark.parametrize(("old", "new"), [(3, 4), (4, 2), (3, 13)])
def test_any_number_of_channels_keeps_the_features_of_grey_images(old, new, trained):
    source = tlkit.adapt_input(trained("LeNetBN", 28), channels=old)
    adapted = tlkit.adapt_input(source, channels=new)
    assert_close(features(adapted, grey(28, new)), features(source, grey(28, old)))


def test_only_the_first_kernel_changes_and_it_is_the_sum_over_the_channels(trained, weights_of):
    rgb = trained("LeNetBN", 28)
    kernel = rgb.get_layer("conv1").get_weights()[0]
    total = kernel[:, :, 0] + kernel[:, :, 1] + kernel[:, :, 2]
    one, five = (tlkit.adapt_input(rgb, channels=channels) for channels in (1, 5))
    for adapted, channels in ((one, 1), (five, 5)):
        kernels = adapted.get_layer("conv1").get_weights()[0]
        assert kernels.shape == (5, 5, channels, 32)
        for channel in range(channels):
            np.testing.assert_allclose(kernels[:, :, channel], total / channels, atol=1e-6)
    before, after = weights_of(rgb), weights_of(five)
    changed = [path for path in before if not np.array_equal(before[path], after[path])]
    assert changed == ["conv1/kernel"]


def test_from_one_channel_to_three_each_colour_has_a_kernel_that_can_learn_its_own(trained):
    rgb = tlkit.adapt_input(tlkit.adapt_input(trained("LeNet", 28), channels=1), channels=3)
    red = images(28, 3) * np.array([1.0, 0.0, 0.0], "float32")
    green = np.roll(red, 1, axis=-1)
    assert_close(features(rgb, red), features(rgb, green))  # at first, all channels have the same kernel
    kernel, bias = rgb.get_layer("conv1").get_weights()
    rgb.get_layer("conv1").set_weights([kernel * np.array([2.0, 1.0, 0.0])[:, None], bias])
    assert not np.allclose(features(rgb, red), features(rgb, green), rtol=1e-2)


@pytest.mark.parametrize("name", ["LeNet", "LeNetBN"])
def test_lenet_at_another_size_keeps_its_convolutions_and_names_the_random_layer(name, trained):
    small = trained(name, 28)
    with pytest.warns(
        TlkitWarning, match=f"{name} for images of 128 pixels: dense1 starts at random"
    ) as caught:
        large = tlkit.adapt_input(small, image_size=128)
    [warning] = [each for each in caught if each.category is TlkitWarning]  # on JAX, NumPy warns too
    assert warning.filename == __file__
    assert large.input_shape == (None, 128, 128, 3)
    for layer in small.layers:
        before, after = layer.get_weights(), large.get_layer(layer.name).get_weights()
        equal = all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
        assert equal == (layer.name != "dense1"), layer.name
    # The same convolutions on the same pixels have the same output, except at the border.
    pixels = images(128)
    conv1 = [
        features(keras.Model(model.input, model.get_layer("conv1").output), pixels[:, :size, :size])
        for model, size in ((small, 28), (large, 128))
    ]
    np.testing.assert_allclose(conv1[1][:, 2:26, 2:26], conv1[0][:, 2:26, 2:26], atol=1e-6)


def test_random_weights_depend_on_the_seed_of_keras(trained):
    small, kernels = trained("LeNet", 28), []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        with pytest.warns(TlkitWarning):
            large = tlkit.adapt_input(small, image_size=32)
        kernels.append(large.get_layer("dense1").get_weights()[0])
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_a_convolutional_network_keeps_everything_at_another_size(trained):
    large = trained("EfficientNetLite0", 96)
    small = tlkit.adapt_input(large, image_size=64)
    fresh = backbones.load_backbone("EfficientNetLite0", weights=None, image_size=64)
    fresh.set_weights(large.get_weights())
    assert small.output_shape == (None, 2, 2, 1280)
    np.testing.assert_array_equal(features(small, images(64)), features(fresh, images(64)))


def test_size_and_channels_change_together(trained):
    rgb = trained("EfficientNetLite0", 96)
    both = tlkit.adapt_input(rgb, image_size=64, channels=1)
    assert both.input_shape == (None, 64, 64, 1)
    assert_close(features(both, grey(64, 1)), features(tlkit.adapt_input(rgb, image_size=64), grey(64, 3)))


def test_the_old_backbone_is_unchanged_and_shares_no_weights(trained, weights_of):
    backbone = trained("LeNetBN", 28)
    before = weights_of(backbone)
    for options in ({}, {"channels": 3}, {"channels": 1}, {"image_size": 28}):
        other = tlkit.adapt_input(backbone, **options)
        assert not {id(weight) for weight in other.weights} & {id(weight) for weight in backbone.weights}
        other.set_weights([0 * weight for weight in other.get_weights()])
    after = weights_of(backbone)
    assert all(np.array_equal(before[path], after[path]) for path in before)


@pytest.mark.parametrize(("name", "size"), SMALL)
def test_layer_names_and_stages_are_unchanged(name, size, trained):
    backbone = trained(name, size)
    one = tlkit.adapt_input(backbone, channels=1)
    assert one.name == name
    assert [layer.name for layer in one.layers] == [layer.name for layer in backbone.layers]
    ours, theirs = backbones.stages(one), backbones.stages(backbone)
    assert {stage: len(layers) for stage, layers in ours.items()} == {s: len(ls) for s, ls in theirs.items()}


def test_a_classifier_of_grey_images_trains_with_its_backbone_frozen(trained, weights_of):
    one = tlkit.adapt_input(trained("LeNet", 28), channels=1)
    model = tlkit.build_classifier(one, classes=3)
    tlkit.freeze(model)
    model.compile("adam", loss="sparse_categorical_crossentropy")
    before = weights_of(one)
    model.fit(images(28, 1, 8), np.arange(8) % 3, verbose=0)
    after = weights_of(one)
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_frozen_layers_stay_frozen(trained):
    backbone = trained("LeNet", 28)
    backbone.get_layer("conv1").trainable = False
    one = tlkit.adapt_input(backbone, channels=1)
    assert [layer.name for layer in one.layers if not layer.trainable and layer.weights] == ["conv1"]


def test_an_inner_model_is_adapted_too(trained):
    backbone = trained("LeNet", 28)
    model = tlkit.build_classifier(backbone, classes=3, augmentation=tlkit.augmentation(flip=False))
    one = tlkit.adapt_input(model, channels=1)
    assert backbone_of(one).input_shape == (None, 28, 28, 1)
    assert_close(features(one, grey(28, 1)), features(model, grey(28, 3)))
    with pytest.warns(TlkitWarning, match="LeNet/dense1 starts at random"):
        large = tlkit.adapt_input(model, image_size=32)
    assert large.input_shape == (None, 32, 32, 3)
    np.testing.assert_array_equal(
        large.get_layer("head").get_weights()[0], model.get_layer("head").get_weights()[0]
    )


def test_an_inner_model_that_is_called_twice_is_copied_once():
    tower = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)], name="tower")
    pixels = keras.Input((16, 16, 3))
    twice = keras.Model(pixels, keras.layers.Add()([tower(pixels), tower(keras.ops.flip(pixels, axis=2))]))
    one = tlkit.adapt_input(twice, channels=1)
    assert one.count_params() == 3 * 3 * 1 * 4 + 4
    assert_close(features(one, grey(16, 1)), features(twice, grey(16, 3)))


def test_a_sequential_model_of_images_is_a_backbone_too():
    network = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    )
    one = tlkit.adapt_input(network, image_size=24, channels=1)
    assert one.input_shape == (None, 24, 24, 1)
    assert_close(features(one, grey(24, 1)), features(tlkit.adapt_input(network, image_size=24), grey(24, 3)))


def test_rescaling_within_the_network_is_kept():
    pixels = keras.Input((16, 16, 3))
    scaled = keras.layers.Rescaling(1 / 128, -1.0)(pixels)  # the zeros of the padding are not black pixels
    network = keras.Model(pixels, keras.layers.Conv2D(4, 3, padding="same")(scaled))
    one = tlkit.adapt_input(network, channels=1)
    assert_close(features(one, grey(16, 1)), features(network, grey(16, 3)))


@pytest.mark.parametrize("filters", [4, 6])  # TensorFlow reads 6 filters of 1 channel on 3 as groups
def test_a_scale_for_each_channel_is_refused(filters):
    pixels = keras.Input((16, 16, 3))
    scaled = keras.layers.Rescaling([0.1, 0.2, 0.3], [0.0, 1.0, 2.0])(pixels)
    network = keras.Model(pixels, keras.layers.Conv2D(filters, 3)(scaled))
    with pytest.raises(TlkitError, match="does not treat all channels alike"):
        tlkit.adapt_input(network, channels=1)


def test_an_adapted_normalization_layer_keeps_its_statistics(trained):
    normalization = keras.layers.Normalization(axis=None)
    normalization.adapt(images(16))
    pixels = keras.Input((16, 16, 3))
    network = keras.Model(pixels, keras.layers.Conv2D(4, 3)(normalization(pixels)))
    for options, channels in (({"image_size": 16}, 3), ({"channels": 1}, 1)):
        adapted = tlkit.adapt_input(network, **options)
        assert_close(features(adapted, grey(16, channels)), features(network, grey(16, 3)))


@pytest.mark.parametrize(("name", "channels"), [("VGG16", 1), ("EfficientNetB0", 1), ("EfficientNetV2B0", 4)])
def test_a_network_that_treats_its_channels_differently_is_refused(name, channels):
    backbone = backbones.load_backbone(name, weights=None, image_size=32)
    with pytest.raises(TlkitError, match=rf"{name} cannot .* channels={channels}: .*np\.repeat\(images, 3"):
        tlkit.adapt_input(backbone, channels=channels)


def test_weights_on_single_pixels_are_refused_for_other_channels():
    pixels = keras.Input((8, 8, 3))
    numbers = keras.layers.Flatten()(pixels)
    network = keras.Model(pixels, keras.layers.Dense(4, name="all_pixels")(numbers))
    with pytest.raises(TlkitError, match="the weights of all_pixels would not fit"):
        tlkit.adapt_input(network, channels=1)


@pytest.mark.parametrize("changed", ["channels", "image_size"])
def test_an_adapted_backbone_can_be_saved_and_loaded(changed, trained, tmp_path):
    backbone = trained("LeNetBN", 28)
    if changed == "image_size":
        with pytest.warns(TlkitWarning):
            adapted = tlkit.adapt_input(backbone, image_size=32)
    else:
        adapted = tlkit.adapt_input(backbone, channels=1)
    adapted.save(tmp_path / "adapted.keras")
    loaded = keras.models.load_model(tmp_path / "adapted.keras")
    pixels = images(*adapted.input_shape[2:])
    np.testing.assert_array_equal(features(loaded, pixels), features(adapted, pixels))


@pytest.mark.parametrize("size", [0, -3, 11])
def test_too_small_a_size_is_refused(size, trained):
    with pytest.raises(TlkitError, match=rf"image_size={size} was given|images of {size} pixels: .* is 12"):
        tlkit.adapt_input(trained("LeNet", 28), image_size=size)


def test_a_custom_network_that_is_too_deep_for_the_size_is_refused():
    layers = [keras.layers.Conv2D(2, 3, 2) for _ in range(4)]
    network = keras.Sequential([keras.Input((64, 64, 3)), *layers], name="mine")
    with pytest.raises(TlkitError, match="mine cannot be built again for images of 8 x 8 pixels"):
        tlkit.adapt_input(network, image_size=8)


@pytest.mark.parametrize("channels", [0, -1])
def test_fewer_channels_than_one_are_refused(channels, trained):
    with pytest.raises(TlkitError, match=f"channels={channels} was given; expected 1 for grey"):
        tlkit.adapt_input(trained("LeNet", 28), channels=channels)


def two_inputs():
    pair = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    return keras.Model(pair, keras.layers.Add()(pair), name="pair")


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    "model",
    [
        two_inputs,
        Subclassed,
        lambda: keras.Sequential([keras.layers.Conv2D(2, 3)]),
        lambda: keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)]),
        lambda: "LeNet",
    ],
)
def test_anything_but_a_functional_model_of_images_is_refused(model):
    with pytest.raises(TlkitError, match=r"expected a functional keras\.Model of images"):
        tlkit.adapt_input(model(), channels=1)


def test_an_inner_model_of_two_inputs_is_refused_only_if_its_inputs_change():
    pixels = keras.Input((8, 8, 3))
    first, second = (keras.layers.Conv2D(3, 3, padding="same")(pixels) for _ in range(2))
    network = keras.Model(pixels, two_inputs()([first, second]))
    one = tlkit.adapt_input(network, channels=1)
    assert_close(features(one, grey(8, 1)), features(network, grey(8, 3)))
    with pytest.raises(TlkitError, match="cannot be built again for images of 16 x 16 pixels"):
        tlkit.adapt_input(network, image_size=16)


@pytest.mark.parametrize("ending", ["keras", "weights.h5"])
def test_the_error_of_weights_for_another_size_contains_code_that_works(ending, trained, tmp_path):
    path = tmp_path / f"saved.{ending}"
    backbone = trained("LeNet", 28)
    (backbone.save if ending == "keras" else backbone.save_weights)(path)
    with pytest.raises(WeightsError, match=r"tlkit\.adapt_input") as caught:
        backbones.load_backbone("LeNet", weights=path, image_size=32)
    code = str(caught.value).split("build it again: ")[1].rstrip(".").replace("OLD", "28")
    with pytest.warns(TlkitWarning, match="dense1"):
        large = eval(code, {"tlkit": tlkit, "keras": keras})
    assert large.input_shape == (None, 32, 32, 3)
    np.testing.assert_array_equal(
        large.get_layer("conv2").get_weights()[0], backbone.get_layer("conv2").get_weights()[0]
    )


def test_the_error_of_another_architecture_does_not_suggest_adapting(tmp_path):
    backbones.load_backbone("LeNet", weights=None).save(tmp_path / "lenet.keras")
    with pytest.raises(WeightsError) as caught:
        backbones.load_backbone("EfficientNetLite0", weights=tmp_path / "lenet.keras", image_size=32)
    assert "adapt_input" not in str(caught.value)
