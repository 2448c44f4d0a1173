"""08 Task similarity."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import Expected, Unexpected, function, number, one_of, several, shown
from tlkit.techniques.logistic_regression import solve

CLOSE = 0.006
PARTS = ("labels", "features", "predicted gain")


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a Gaussian kernel matrix `(n, m)` of points on a line."""
    return np.exp(-np.square(x[:, None] - y[None]))


def at_random_points(answer: Callable[..., Any]) -> list[dict[str, np.ndarray]]:
    """Return the answer, and what typical mistakes give, for several random pairs of domains."""
    found = []
    for seed, (n, m) in enumerate([(5, 8), (9, 4), (6, 6), (3, 7)]):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=n), rng.normal(size=m) + seed
        aa, bb, ab = kernel(x, x), kernel(y, y), kernel(x, y)
        if seed % 2:  # a kernel whose values for an image and itself are not 1
            u, v = 1 + x**2, 1 + y**2
            aa, bb, ab = aa * np.outer(u, u), bb * np.outer(v, v), ab * np.outer(u, v)
        pairs = aa.sum() - np.trace(aa), bb.sum() - np.trace(bb)
        within = pairs[0] / (n * (n - 1)) + pairs[1] / (m * (m - 1))
        right = within - 2 * ab.mean()
        cases = {
            "right": right,
            "biased": aa.mean() + bb.mean() - 2 * ab.mean(),
            "denominator": pairs[0] / n**2 + pairs[1] / m**2 - 2 * ab.mean(),
            "ones": (aa.sum() - n) / (n * (n - 1)) + (bb.sum() - m) / (m * (m - 1)) - 2 * ab.mean(),
            "factor": within - ab.mean(),
            "biased factor": aa.mean() + bb.mean() - ab.mean(),
            "sign": -right,
            "sums": aa.sum() + bb.sum() - 2 * ab.sum(),
            "pair sums": pairs[0] + pairs[1] - 2 * ab.sum(),
            "root": np.sqrt(max(right, 0)),
        }
        given = np.asarray(answer(aa.copy(), bb.copy(), ab.copy()), float)
        found.append({name: np.asarray(value) for name, value in cases.items()} | {"given": given})
    return found


def gives(*cases: str) -> Callable[[list[dict[str, np.ndarray]]], bool]:
    """Return whether the answer gives what one of these mistakes gives, at every point."""
    return lambda found: any(
        all(point["given"].shape == () and np.isclose(point["given"], point[case]) for point in found)
        for case in cases
    )


def held_out_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the cross-validated accuracy of a linear head."""
    held_out = solve(features, labels, 1 + labels.max()).held_out
    if held_out is None:
        raise ValueError("Every class has a single label.")
    return float(np.mean(held_out.argmax(axis=1) == labels))


def accept_source(answer: Any) -> dict[str, Any]:
    """Return a source that the learner made, as arrays and a number."""
    if not isinstance(answer, Mapping) or set(answer) != set(PARTS):
        raise Unexpected(shown(answer))
    try:
        gain = number(-1, 1).accept(answer["predicted gain"])
    except Unexpected as error:
        raise Unexpected(f"a predicted gain that is {error}") from error
    try:
        features = np.asarray(answer["features"], float)
    except (TypeError, ValueError) as error:
        raise Unexpected("features that are no single array (learn returns two)") from error
    return {"labels": np.asarray(answer["labels"]), "features": features, "gain": gain}


def recomputed(
    answer: dict[str, Any],
    digit: np.ndarray,
    features: Sequence[np.ndarray],
    twins: Sequence[np.ndarray],
    labels: np.ndarray,
) -> dict[str, Any]:
    """Return what the answer is like: its labels, its features, and the gain that these features give."""
    x, question = answer["features"], answer["labels"]
    found = {
        "digit": np.array_equal(question, digit),
        "parity": any(np.array_equal(question, each) for each in (digit % 2, 1 - digit % 2)),
        "fits": x.ndim == 2 and len(x) == len(labels),
        "old": any(x.shape == each.shape and np.allclose(x, each, atol=1e-4) for each in (*features, *twins)),
        "given": answer["gain"],
    }
    if found["fits"]:
        found["accuracy"] = held_out_accuracy(x, labels)
        of_twins = [held_out_accuracy(each, labels) for each in twins]
        found["gain"] = found["accuracy"] - float(np.mean(of_twins))
        found["one twin"] = found["accuracy"] - of_twins[0]
    return found


def close(found: dict[str, Any], value: float) -> bool:
    """Return whether the given number is this one, and not the gain."""
    return abs(found["given"] - value) < CLOSE < abs(found["given"] - found["gain"])


EXERCISES = [
    Exercise(
        "08.1",
        takes=several(3, one_of("random twin", "target only", "halves")),
        hint="Ask of each question what must stay the same on both sides, and what may differ.",
        shows="Each claim has its own control: no source at all, no shift, no source in the features.",
        mistakes=[
            Mistake(
                "negative transfer is claimed against frozen random weights",
                "(a): negative transfer means more errors than without any source. Who would train without a "
                "source, and how?",
                lambda answer: answer[0] != "target only",
            ),
            Mistake(
                "a distance is read without its zero",
                "(b): no network is trained and there is no label. How large is the distance where nothing "
                "differs?",
                lambda answer: answer[1] != "halves",
            ),
            Mistake(
                "features are compared with another way of training",
                "(c): both networks stay frozen, and only the origin of the weights differs.",
                lambda answer: answer[2] != "random twin",
            ),
        ],
    ),
    Exercise(
        "08.2",
        takes=function("aa", "bb", "ab"),
        hint="Begin with one matrix: how many pairs of two different images are there in aa, and which "
        "entries are they?",
        shows="Without the pairs of an image with itself, the estimate is 0 on average where domains agree.",
        measure=at_random_points,
        mistakes=[
            Mistake(
                "an image is paired with itself",
                "For two samples of one domain, your value is above 0 on average: it is biased. Which pairs "
                "does the definition leave out?",
                gives("biased"),
            ),
            Mistake(
                "the pairs are left out of the sum and not of the count",
                "The sum has fewer pairs than you divide by.",
                gives("denominator"),
            ),
            Mistake(
                "the diagonal is taken to be one",
                "Not every kernel is 1 for an image and itself. Leave out what is there.",
                gives("ones"),
            ),
            Mistake(
                "the factor of the last term is forgotten",
                "For two samples of one domain, your value is far above 0. The formula subtracts more.",
                gives("factor", "biased factor"),
            ),
            Mistake(
                "the sign is wrong",
                "For two domains that are far apart, your value is negative.",
                gives("sign"),
            ),
            Mistake(
                "sums are taken instead of means",
                "Your value depends on the numbers of images. The formula averages.",
                gives("sums", "pair sums"),
            ),
            Mistake(
                "the root is taken",
                "Asked for is the square, which may be slightly below 0.",
                gives("root"),
            ),
            Mistake(
                "another number",
                "Return one number: means within the domains, minus the pairs between them, as in section 1.",
                lambda found: not gives("right")(found),
            ),
        ],
    ),
    Exercise(
        "08.3",
        takes=Expected(f"a dictionary with {', '.join(map(repr, PARTS))}", accept_source),
        hint="x, digit = sources['mnist-m digit']. Which labels does the new question need? learn(...) "
        "returns the features of few.images first.",
        shows="Both questions are about the digits of the same images. Compare their predicted gains and "
        "their ±.",
        measure=recomputed,
        mistakes=[
            Mistake(
                "the digit itself is the label",
                "These labels ask which digit it is. The new question has two classes.",
                lambda found, **facts: found["digit"],
            ),
            Mistake(
                "the labels do not say whether the digit is even",
                "These labels do not tell even from odd digits, image by image of the source.",
                lambda found, **facts: not found["parity"],
            ),
            Mistake(
                "other images are used",
                "There must be one row of features for each labelled image of the target, few.images.",
                lambda found, **facts: not found["fits"],
            ),
            Mistake(
                "the network was not trained on the new question",
                "These are the features of a network that you already had. Train a new one first.",
                lambda found, **facts: found["old"],
            ),
            Mistake(
                "an accuracy is given instead of a gain",
                "That is the accuracy with the source. A gain compares it with the random twin.",
                lambda found, **facts: close(found, found["accuracy"]),
            ),
            Mistake(
                "the twin is compared with the source",
                "Check the sign: a source that is better than its twin has a positive gain.",
                lambda found, **facts: close(found, -found["gain"]),
            ),
            Mistake(
                "a single twin is taken",
                "One set of random weights may be lucky. Take the mean over all twins.",
                lambda found, **facts: close(found, found["one twin"]),
            ),
            Mistake(
                "another number",
                "Your features give another gain. Use `correct`, and compare with `twin`.",
                lambda found, **facts: abs(found["given"] - found["gain"]) > CLOSE,
            ),
        ],
    ),
]
