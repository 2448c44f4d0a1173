"""Figures: they draw on the axes that are passed, return the axes, and never call show."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tlkit import plots
from tlkit.data import Split
from tlkit.errors import DataError, UnknownNameError
from tlkit.plots.results import MAX_NAMED_CLASSES

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype("uint8")


@pytest.fixture(autouse=True)
def nothing_is_shown(monkeypatch):
    def show(*_, **__):
        pytest.fail("show was called")

    monkeypatch.setattr(plt, "show", show)
    yield
    plt.close("all")


def draw(axes):
    """Render the figure, because matplotlib reports some errors only then."""
    np.asarray(axes).flat[0].figure.canvas.draw()


class Lazy:
    """Images of which only a few may be read at a time."""

    shape, dtype = (20_000, 8, 8, 3), np.dtype("uint8")

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        chosen = np.arange(len(self))[index]
        assert chosen.size < 100
        return np.zeros((chosen.size, 8, 8, 3), "uint8")

    def __array__(self, *_, **__):
        pytest.fail("all images were read")


def titles(axes):
    return [ax.get_title() for ax in axes.flat if ax.get_title()]


def test_images_have_their_classes_as_titles():
    axes = plots.images(Split(IMAGES, [0, 1, 0, 1, 0]), class_names=["cat", "dog"], columns=3, count=4)
    assert axes.shape == (2, 3)
    assert titles(axes) == ["cat", "dog", "cat", "dog"]


def test_a_wrong_prediction_has_a_red_title_with_the_true_class():
    correct, wrong = plots.images(
        IMAGES[:2], labels=[0, 1], predicted=[0, 0], class_names=["cat", "dog"]
    ).flat
    assert correct.title.get_color() == plots.PALETTE["green"]
    assert wrong.title.get_color() == plots.PALETTE["vermillion"]
    assert wrong.get_title() == "cat\ntrue: dog"


def test_only_the_shown_images_of_a_split_are_read():
    plots.images(Split(Lazy()), count=3)


def test_no_images_give_an_empty_grid():
    axes = plots.images(IMAGES[:0])
    draw(axes)
    assert axes.shape == (1, 1)
    assert not axes[0, 0].images


def test_phases_are_drawn_one_after_the_other():
    phase = {"accuracy": [0.1, 0.2], "loss": [2.0, 1.0], "val_accuracy": [0.1, 0.3], "val_loss": [2.0, 1.5]}
    accuracy, loss = plots.learning_curves({"head": phase, "fine-tuning": phase})
    blue = [line for line in accuracy.lines if line.get_color() == plots.PALETTE["blue"]]
    assert [line.get_xdata().tolist() for line in blue] == [[1, 2], [3, 4]]
    assert {line.get_linestyle() for line in blue} == {"-"}
    assert [text.get_text() for text in loss.texts] == ["head", "fine-tuning"]
    assert len(loss.get_legend().get_texts()) == 2


def test_learning_curves_accept_a_keras_history_or_its_dictionary():
    import keras

    history = keras.callbacks.History()
    history.history = {"loss": [1.0]}
    for accepted in (history, history.history):
        axes = plots.learning_curves(accepted)
        draw(axes)
        assert [line.get_ydata().tolist() for line in axes[1].lines] == [[1.0]]


@pytest.mark.parametrize(("classes", "numbers"), [(2, 2), (100, 0)])
def test_a_confusion_matrix_has_numbers_if_there_is_room(classes, numbers):
    labels = np.arange(classes)
    ax = plots.confusion(labels, labels, [f"class {label}" for label in labels])
    draw(ax)
    assert len(ax.texts) == numbers
    assert len(ax.get_xticks()) <= MAX_NAMED_CLASSES


def test_dollar_signs_in_names_are_not_mathematics():
    names = ["$x^{$", "a_b$\\frac$"]
    matrix = plots.confusion(np.array([0, 1]), np.array([0, 1]), names)
    draw(matrix)
    assert [label.get_text() for label in matrix.get_yticklabels()] == names
    draw(plots.images(IMAGES[:2], labels=[0, 1], class_names=names))
    draw(plots.compare_arms({names[0]: [0.5], names[1]: [0.6]}))
    draw(plots.learning_curves({names[0]: {"loss": [1.0]}}))


ARMS = {"scratch": [0.4, 0.6, 0.5], "frozen": [0.9, 0.9, np.nan]}
TIDY = pd.DataFrame([{"arm": arm, "accuracy": value} for arm, values in ARMS.items() for value in values])


@pytest.mark.parametrize("table", [ARMS, TIDY], ids=["mapping", "table"])
def test_arms_are_drawn_with_every_seed_and_their_mean(table):
    ax = plots.compare_arms(table, predicted={"frozen": 0.7})
    draw(ax)
    assert ax.get_legend_handles_labels()[0][0].get_xydata().tolist() == [[0.7, 1]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["scratch", "frozen"]
    assert [text.get_text() for text in ax.texts] == ["0.50", "0.90"]
    assert ax.lines[0].get_xdata() == pytest.approx([0.4, 0.6])


def test_a_curve_shows_the_mean_and_deviation_of_each_arm_at_each_setting():
    table = pd.DataFrame(
        [
            {"arm": arm, "labels": labels, "accuracy": base + labels / 100 + seed / 10}
            for arm, base in (("scratch", 0.1), ("$x^{$", 0.4))
            for labels in (30, 1)
            for seed in (0, 1, 2)
        ]
    )
    ax = plots.curves(table, "labels", predicted={"scratch": {1: 0.9}}, quantity="test accuracy")
    draw(ax)
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "30"]
    assert ax.lines[0].get_xydata() == pytest.approx(np.array([[1, 0.21], [30, 0.5]]))
    band = ax.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((0.11, 0.6))
    assert sorted(ax.lines[1].get_ydata()) == pytest.approx([0.11, 0.21, 0.31, 0.4, 0.5, 0.6])
    assert [0.9] in [list(line.get_ydata()) for line in ax.lines]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["scratch", "$x^{$", "your prediction"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("labels", "test accuracy")


def test_a_curve_works_with_one_seed_and_with_a_setting_of_0():
    table = pd.DataFrame({"arm": "a", "depth": [0, 1, 2], "accuracy": [0.5, np.nan, 0.7]})
    ax = plots.curves(table, "depth")
    draw(ax)
    assert ax.get_xscale() == "linear"
    assert ax.lines[0].get_xdata().tolist() == [0, 2]


def test_an_arm_has_the_same_colour_in_every_figure_if_arms_are_categorical():
    arms = pd.Categorical(["c", "a"], ["a", "b", "c"])
    table = pd.DataFrame({"arm": arms, "labels": 10, "accuracy": [0.5, 0.8]})

    def colours(rows):
        ax = plots.curves(rows, "labels", ax=plt.subplots()[1])
        return {line.get_label(): line.get_color() for line in ax.lines if line.get_linewidth() == 2}

    assert list(colours(table)) == ["a", "c"]
    assert colours(table[:1]) == {"c": colours(table)["c"]}


def test_a_trade_off_has_one_point_per_arm_and_seed():
    table = pd.DataFrame({"arm": ["$a^{$", "$a^{$", "b"], "old": [0.9, 0.8, 0.1], "new": [0.4, 0.5, 1.0]})
    ax = plots.trade_off(table, "old", "new")
    draw(ax)
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[0.9, 0.4], [0.8, 0.5]], [[0.1, 1.0]]]
    assert {line.get_linestyle() for line in ax.lines} == {"None"}
    assert len({line.get_color() for line in ax.lines}) == len({line.get_marker() for line in ax.lines}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["$a^{$", "b"]


def test_stages_are_coloured_by_their_state():
    table = pd.DataFrame(
        {"parameters": [1000, 1000, 10], "trainable parameters": [0, 900, 3]}, index=["low", "high", "head"]
    )
    ax = plots.frozen(table)
    draw(ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "frozen",
        "partly trainable",
        "trainable",
    ]


def test_an_overlay_is_brighter_where_the_heat_map_is_high():
    heat = np.zeros((8, 8))
    heat[0, 0] = 1
    grey = np.full((8, 8, 3), 200, "uint8")
    image = plots.overlay(grey, heat)
    assert image.dtype == np.uint8
    assert image[0, 0].mean() > image[5, 5].mean()
    draw(plots.heatmap(grey, heat))


def test_axes_that_are_passed_are_used_and_no_figure_is_created():
    _, (first, second) = plt.subplots(1, 2)
    assert plots.compare_arms({"a": [1.0]}, ax=first) is first
    assert plots.learning_curves({"loss": [1.0]}, axes=[first, second])[1] is second
    assert len(plt.get_fignums()) == 1


def test_the_curves_of_each_task_are_drawn_one_phase_after_the_other():
    phase = {"a_loss": [2.0, 1.0], "val_a_loss": [2.0, 1.5], "$x^{$_loss": [1.0, 0.5]}
    axes = plots.task_curves({"head": phase, "fine-tuning": phase}, ["a", "$x^{$"], plt.subplots(1, 3)[1])
    draw(axes)
    assert [line.get_xdata().tolist() for line in axes[0].get_lines()[:2]] == [[1, 2], [1, 2]]
    assert axes[0].get_lines()[3].get_xdata().tolist() == [3, 4]
    assert not axes[2].axison


def test_a_task_worse_than_a_constant_prediction_is_left_of_zero():
    ax = plots.task_gains({"good": 0.5, "$x^{$": -0.2}, {"good": "75 %", "$x^{$": "error 3"})
    draw(ax)
    assert ax.get_xlim() == (-0.2, 1)
    assert [patch.get_width() for patch in ax.patches] == [0.5, -0.2]
    assert {text.get_text() for text in ax.texts} == {"75 %", "error 3"}


def test_predicted_and_true_values_have_equal_axes():
    ax = plots.true_and_predicted(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    draw(ax)
    assert ax.get_xlim() == ax.get_ylim()
    plots.true_and_predicted(np.array([1.0]), np.array([1.0]))


def test_views_are_below_their_image_and_use_training_mode():
    def dark(pixels, training=False):
        return pixels - 255 if training else pixels

    axes = plots.views(Split(Lazy()), dark, count=4)
    draw(axes)
    assert axes.shape == (3, 4)
    assert [ax.texts[0].get_text() for ax in axes[:, 0]] == ["image", "view 1", "view 2"]
    axes = plots.views(IMAGES, dark, count=2)
    np.testing.assert_array_equal(axes[0, 1].images[0].get_array(), IMAGES[1])
    assert not axes[2, 1].images[0].get_array().any()


def test_neighbours_are_nearest_first_without_the_image_itself():
    angles = np.radians([0, 90, 10, 45, 100])
    features = 7 * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # only the direction matters
    axes = plots.neighbours(IMAGES, features, [0, 1], count=3)
    draw(axes)
    shown = [
        [int(np.all(ax.images[0].get_array() == IMAGES, axis=(1, 2, 3)).argmax()) for ax in row]
        for row in axes
    ]
    assert shown == [[0, 2, 3, 1], [1, 4, 3, 2]]
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["image", "nearest", "", ""]
    assert plots.neighbours(IMAGES[:2], features[:2], [1]).shape == (1, 2)


def test_neighbours_read_only_what_is_shown():
    features = np.random.default_rng(0).normal(size=(20_000, 4))
    axes = plots.neighbours(Split(Lazy()), features, np.array([5, 9]), axes=plt.subplots(2, 7)[1])
    assert axes.shape == (2, 7)


def test_a_curve_draws_the_intervals_of_its_table():
    rows = [("frozen", 1, 0.5, 0.3, 0.6), ("frozen", 10, 0.7, 0.6, 0.9)]
    table = pd.DataFrame(rows, columns=["arm", "labels", "accuracy", "low", "high"])
    band = (
        plots.curves(table, "labels", predicted={"frozen": {1: None}}).collections[0].get_paths()[0].vertices
    )
    with pytest.raises(DataError, match=r"0.5 was predicted for 'frozen'; expected values by labels"):
        plots.curves(table, "labels", predicted={"frozen": 0.5})
    assert {(1, 0.3), (1, 0.6), (10, 0.6), (10, 0.9)} <= {(x, y) for x, y in band.tolist()}


def test_an_arm_keeps_its_colour_and_others_take_free_ones():
    colors = plots.arm_colors(["from scratch", "CORAL", "frozen", "AdaBN", "fine-tuned"])
    assert colors["frozen"] == plots.arm_colors(["pretrained, frozen"])["pretrained, frozen"]
    assert len(set(colors.values())) == 5


@pytest.mark.parametrize("kind", [None, "inductive", "transductive", "unsupervised"])
def test_the_taxonomy_names_the_three_types_and_highlights_one(kind):
    ax = plots.taxonomy(kind)
    draw(ax)
    texts = {text.get_text(): text.get_alpha() for text in ax.texts}
    strong = [name for name in ("inductive", "transductive", "unsupervised") if texts[name] == 1.0]
    assert strong == ([kind] if kind else ["inductive", "transductive", "unsupervised"])
    with pytest.raises(UnknownNameError, match="deductive"):
        plots.taxonomy("deductive")
