import numpy as np

from tlkit.course.exercises.lesson_08 import held_out_accuracy


def within(k):
    return (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))


def mmd_squared(aa, bb, ab):
    return within(aa) + within(bb) - 2 * ab.mean()


def biased(aa, bb, ab):
    return aa.mean() + bb.mean() - 2 * ab.mean()


def wrong_count(aa, bb, ab):
    return (aa - np.diag(np.diag(aa))).mean() + (bb - np.diag(np.diag(bb))).mean() - 2 * ab.mean()


def ones_taken_off(aa, bb, ab):
    n, m = ab.shape
    return (aa.sum() - n) / (n * (n - 1)) + (bb.sum() - m) / (m * (m - 1)) - 2 * ab.mean()


def without_the_factor(aa, bb, ab):
    return within(aa) + within(bb) - ab.mean()


def biased_without_the_factor(aa, bb, ab):
    return aa.mean() + bb.mean() - ab.mean()


def negative(aa, bb, ab):
    return -mmd_squared(aa, bb, ab)


def sums(aa, bb, ab):
    return aa.sum() + bb.sum() - 2 * ab.sum()


def root(aa, bb, ab):
    return max(mmd_squared(aa, bb, ab), 0) ** 0.5


def a_value_per_image(aa, bb, ab):
    return aa.mean(axis=1) + bb.mean() - 2 * ab.mean(axis=1)


LABELS = np.repeat(np.arange(3), 10)


def some_features(seed, signal):
    return np.eye(3)[LABELS] * signal + np.random.default_rng(seed).normal(size=(30, 3))


DIGIT = np.random.default_rng(3).integers(0, 10, 40)
FEATURES, TWINS = [some_features(1, 5.0)], [some_features(0, 1.0), some_features(4, 2.0)]
PARITY = some_features(2, 3.0)
ACCURACY = held_out_accuracy(PARITY, LABELS)
OF_TWINS = [held_out_accuracy(each, LABELS) for each in TWINS]
GAIN = ACCURACY - np.mean(OF_TWINS)
FACTS = {"digit": DIGIT, "features": FEATURES, "twins": TWINS, "labels": LABELS}


def source(labels=DIGIT % 2, features=PARITY, gain=GAIN):
    return {"labels": labels, "features": features, "predicted gain": gain}


ANSWERS = {
    "08.1": {
        "right": ["target only", "halves", "random twin"],
        "wrong": [
            ["random twin", "halves", "random twin"],
            ["target only", "random twin", "random twin"],
            ["target only", "halves", "target only"],
            ["target only", "halves"],
        ],
    },
    "08.2": {
        "right": mmd_squared,
        "wrong": [
            biased,
            wrong_count,
            ones_taken_off,
            without_the_factor,
            biased_without_the_factor,
            negative,
            sums,
            root,
            a_value_per_image,
            lambda aa, bb, ab: 0.0,
            lambda aa, bb: 0.0,
            0.1,
        ],
    },
    "08.3": {
        "right": source(),
        "wrong": [
            source(labels=DIGIT),
            source(labels=(DIGIT > 4) * 1),
            source(labels=DIGIT[:20] % 2),
            source(features=PARITY[:20]),
            source(features=FEATURES[0]),
            source(features=FEATURES[0] + 1e-6),
            source(features=(PARITY, PARITY[:20])),
            source(gain=np.full(50, 0.1)),
            source(features=TWINS[1], gain=0.0),
            source(gain=ACCURACY),
            source(gain=-GAIN),
            source(gain=ACCURACY - OF_TWINS[0]),
            source(gain=GAIN + 0.02),
            source(gain=2),
            GAIN,
            "hurts",
        ],
        "facts": FACTS,
    },
}
