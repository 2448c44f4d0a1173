"""With every case (`make test-full`): the claims of the lessons fail where there is nothing to find."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from pushes import full

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"

# The number of a lesson: what is replaced in its code, and by what; labels are shuffled or the method is off.
SABOTAGE = {
    "00": (
        "tlkit.solve_head(network, data.train.subset(drawn))",
        "tlkit.solve_head(network, (data.train.images[drawn], np.sort(data.train.labels[drawn])))",
    ),
    "01": ("(backbone, random, pixels), strict", "(random, random, pixels), strict"),
    "02": ('final[final["arm"] == arm][images]', 'final[final["arm"] == "frozen"][images]'),
    "03": ("if (arm, seed) in learned:", "if False:"),
    "04": ("return (x - mean) / (deviation + 1e-3)", "return x"),
    "05": ("learner.fit(pool, batch_size=64, epochs=epochs,", "learner.fit(pool, batch_size=64, epochs=0,"),
    "06": (
        "ys, x_test = source.train.labels,",
        "ys, x_test = np.random.default_rng(0).permutation(source.train.labels),",
    ),
    "07": ("{related: y[related][order]} if shuffled else {}", "{related: y[related][order]}"),
    "08": (
        'labels, runs = runs.attrs["labels"],',
        'labels, runs = np.random.default_rng(0).permutation(runs.attrs["labels"]),',
    ),
    "09": ("overfitting.temperature(*pair) for pair in pairs", "1.0 for pair in pairs"),
    "10": (
        "learned = {arm: learn(ridge, *x) for arm, x in features.items()}",
        'learned = {arm: learn(ridge, *features["random"]) for arm in features}',
    ),
    "11": ("epochs=4", "epochs=0"),
    "12": (
        'heads = [learn(x["train"][i], t["train"][i]) for i in draws]',
        'heads = [learn(x["train"][i], np.random.default_rng(0).permutation(t["train"][i])) for i in draws]',
    ),
    "13": ("return rehearse(new, old.few(20, seed=seed), seed=seed)", "return new"),
}
# Data that may be used in paid courses too.
FREE = {
    "00": "emoji/openmoji",
    "01": "emoji/twemoji",
    "02": "emoji/twemoji",
    "03": "digits/mnist",
    "04": "emoji/twemoji",
    "05": "emoji/openmoji",
    "06": "emoji/twemoji",
    "07": "emoji/styles",
    "08": "digits/optical",
    "09": "emoji/twemoji",
    "10": "emoji/twemoji",
    "11": "emoji/twemoji",
    "12": "digits/mnist",
    "13": "digits/mnist",
}


def run(number, tmp_path, monkeypatch, replaced, by):
    """Run a lesson with some code replaced. Return the cell that failed and its error, or None and None."""
    monkeypatch.setenv("TLKIT_PROGRESS", str(tmp_path))
    [path] = NOTEBOOKS.glob(f"{number}_*.ipynb")
    lesson = nbformat.read(path, as_version=4)
    found = [cell for cell in lesson.cells if cell.cell_type == "code" and replaced in cell.source]
    assert len(found) == 1, f"{replaced!r} occurs in {len(found)} cells"
    found[0].source = found[0].source.replace(replaced, by)
    NotebookClient(lesson, timeout=600, kernel_name="python3", allow_errors=True).execute()
    for cell in lesson.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                return cell, output.ename
    return None, None


@full
@pytest.mark.parametrize("number", SABOTAGE)
def test_a_claim_fails_where_there_is_nothing_to_find(number, tmp_path, monkeypatch):
    cell, error = run(number, tmp_path, monkeypatch, *SABOTAGE[number])
    assert error == "AssertionError"
    assert ".low" in cell.source
    assert not {"exercise", "solution"} & set(cell.metadata.get("tags", ()))


@full
@pytest.mark.parametrize("number", FREE)
def test_a_lesson_runs_on_freely_licensed_data(number, tmp_path, monkeypatch):
    [path] = NOTEBOOKS.glob(f"{number}_*.ipynb")
    lesson = nbformat.read(path, as_version=4)
    [parameters] = [cell for cell in lesson.cells if "parameters" in cell.metadata.get("tags", ())]
    [line] = [each for each in parameters.source.splitlines() if each.startswith("DATASET = ")]
    cell, error = run(number, tmp_path, monkeypatch, line, f'DATASET = "{FREE[number]}"')
    assert error is None, f"{error} in {cell.source}"
