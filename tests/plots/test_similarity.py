"""Heat maps and embeddings of distances and similarities."""

import itertools

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from scipy.spatial.distance import cdist

from tlkit import plots
from tlkit.errors import TlkitError


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def table(values, names=None, **attrs):
    names = names or [f"set {i}" for i in range(len(values))]
    made = pd.DataFrame(np.asarray(values, float), index=names, columns=names)
    made.attrs = attrs
    return made


def distances_of(points):
    return table(cdist(points, points))


def points_of(ax):
    return np.column_stack(ax.lines[0].get_data())


def test_the_cells_show_their_values():
    ax = plots.similarity_map(table([[0.004, 1.5], [1.5, -0.001]], measure="mmd"))
    assert [text.get_text() for text in ax.texts] == ["0.00", "1.50", "1.50", "0.00"]
    assert [text.get_position() for text in ax.texts] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert ax.figure.axes[1].get_ylabel() == "mmd"


@pytest.mark.parametrize(("largest", "written"), [(9.9, "9.90"), (99.0, "99.0"), (1234.5, "1234")])
def test_large_values_have_fewer_decimals(largest, written):
    assert plots.similarity_map(table([[largest]])).texts[0].get_text() == written


def test_text_has_enough_contrast_with_its_cell():
    """WCAG requires a contrast of at least 4.5 to 1 for text."""
    ax = plots.similarity_map(table(np.linspace(0, 2, 64).reshape(8, 8)))

    def luminance(color):
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
        return np.dot(parts, [0.2126, 0.7152, 0.0722])

    shown = ax.images[0].to_rgba(ax.images[0].get_array())
    for text in ax.texts:
        column, row = text.get_position()
        low, high = sorted([luminance(shown[row, column]), luminance(to_rgb(text.get_color()))])
        assert (high + 0.05) / (low + 0.05) > 4.5


def test_missing_values_and_large_tables_have_no_numbers():
    assert len(plots.similarity_map(table([[0, np.nan], [np.nan, 0]])).texts) == 2
    assert not plots.similarity_map(table(np.zeros((17, 17)))).texts


def test_a_table_of_layers_need_not_be_square():
    grid = pd.DataFrame(np.eye(2, 3), index=["conv1", "conv2"], columns=["a", "b", "c"])
    grid.index.name, grid.columns.name = "before", "after"
    ax = plots.similarity_map(grid, quantity="CKA", limits=(0, 1))
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.figure.axes[1].get_ylabel()) == ("after", "before", "CKA")
    assert ax.images[0].get_clim() == (0, 1)


def test_points_of_a_plane_are_recovered_from_their_distances():
    points = np.random.default_rng(0).normal(size=(7, 2))
    ax = plots.similarity_embedding(distances_of(points))
    np.testing.assert_allclose(cdist(points_of(ax), points_of(ax)), cdist(points, points), atol=1e-3)
    assert ax.texts[0].get_text() == "stress 0.00"


def test_points_that_do_not_fit_in_a_plane_have_stress():
    """Eight points at equal distances need seven dimensions."""
    ax = plots.similarity_embedding(table(1 - np.eye(8)))
    drawn = cdist(points_of(ax), points_of(ax))
    expected = np.linalg.norm(drawn - (1 - np.eye(8))) / np.linalg.norm(drawn)
    assert ax.texts[0].get_text() == f"stress {expected:.2f}"
    assert expected > 0.2


def test_the_table_defines_what_no_distance_is_and_whether_distances_are_squared():
    lengths = cdist(*[np.array([[0.0, 0], [3, 0], [3, 4]])] * 2)
    same = table(lengths + 0.5, measure="auc", same=0.5)
    squared = table(lengths**2, measure="mmd", squared=True)
    for distances in (same, squared):
        ax = plots.similarity_embedding(distances)
        np.testing.assert_allclose(cdist(points_of(ax), points_of(ax)), lengths, atol=1e-3)
    assert ax.get_xlabel() == "MDS 1 (square root of mmd)"
    explicit = plots.similarity_embedding(table(lengths**2 + 0.5), same=0.5, squared=True)
    np.testing.assert_allclose(cdist(points_of(explicit), points_of(explicit)), lengths, atol=1e-3)


def test_the_diagonal_has_no_effect_on_the_embedding():
    distances = distances_of(np.random.default_rng(0).normal(size=(5, 2)))
    before = points_of(plots.similarity_embedding(distances))
    halves = table(distances.to_numpy() + np.diag([0.3] * 5))
    np.testing.assert_array_equal(before, points_of(plots.similarity_embedding(halves)))


@pytest.mark.parametrize("count", [2, 3, 12])
def test_names_overlap_neither_each_other_nor_a_point_and_stay_inside(count):
    positions = np.random.default_rng(count).normal(size=(count, 2))
    positions[1] = positions[0] + 0.01  # two points that nearly coincide
    names = [f"emoji/number-{i}" for i in range(count)]
    ax = plots.similarity_embedding(table(cdist(positions, positions), names))
    ax.figure.canvas.draw()
    texts = [text for text in ax.texts if text.get_text() in names]
    assert [text.get_text() for text in texts] == names
    boxes = [text.get_window_extent() for text in texts]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    inside = ax.get_window_extent()
    points = ax.transData.transform(points_of(ax))
    for box in boxes:
        assert not any(box.contains(*point) for point in points)
        assert inside.x0 - 1 <= box.x0
        assert box.x1 <= inside.x1 + 1


def test_data_sets_without_any_distance_are_one_point():
    ax = plots.similarity_embedding(table(np.zeros((3, 3))))
    assert np.ptp(points_of(ax)) == 0
    assert ax.texts[0].get_text() == "stress 0.00"


def test_dollar_signs_in_names_are_not_mathematics():
    distances = table([[0, 1], [1, 0]], ["$x^{$", "a_b$\\frac$"])
    for draw in (plots.similarity_map, plots.similarity_embedding):
        ax = draw(distances)
        ax.figure.canvas.draw()
        shown = {text.get_text().strip() for text in [*ax.texts, *ax.get_xticklabels()]}
        assert shown >= {"$x^{$", "a_b$\\frac$"}


@pytest.mark.parametrize("values", [[[0, 1], [2, 0]], [[0, np.nan], [np.nan, 0]]])
def test_an_invalid_table_of_distances_is_refused(values):
    with pytest.raises(TlkitError, match="not square and symmetric"):
        plots.similarity_embedding(table(values))
    with pytest.raises(TlkitError, match="not square"):
        plots.similarity_embedding(pd.DataFrame(np.zeros((2, 3))))
