import numpy as np
from keras import ops


def soft(logits, temperature):
    return ops.softmax(logits / temperature)


def cross_entropy(p, logits):
    return -ops.mean(ops.sum(p * ops.log_softmax(logits), axis=1))


def distil(teacher, student, temperature):
    """The cross-entropy has the gradient of the divergence, which the lesson's solution uses."""
    p = ops.stop_gradient(soft(teacher, temperature))
    return temperature**2 * cross_entropy(p, student / temperature)


def per_image(teacher, student, temperature):
    p = ops.stop_gradient(soft(teacher, temperature))
    return -(temperature**2) * ops.sum(p * ops.log_softmax(student / temperature), axis=1)


def teacher_learns(teacher, student, temperature):
    return temperature**2 * cross_entropy(soft(teacher, temperature), student / temperature)


def student_stopped(teacher, student, temperature):
    return distil(teacher, ops.stop_gradient(student), temperature)


def stopped_at_the_wrong_one(teacher, student, temperature):
    return temperature**2 * cross_entropy(
        soft(teacher, temperature), ops.stop_gradient(student) / temperature
    )


def with_numpy(teacher, student, temperature):
    p, q = (np.exp(np.asarray(each) / temperature) for each in (teacher, student))
    p, q = (each / each.sum(axis=1, keepdims=True) for each in (p, q))
    return -(temperature**2) * np.mean(np.sum(p * np.log(q), axis=1))


def not_softened(teacher, student, temperature):
    return distil(teacher, student, 1.0)


def only_the_factor(teacher, student, temperature):
    return temperature**2 * distil(teacher, student, 1.0)


def no_factor(teacher, student, temperature):
    return distil(teacher, student, temperature) / temperature**2


def factor_not_squared(teacher, student, temperature):
    return distil(teacher, student, temperature) / temperature


def multiplied(teacher, student, temperature):
    return distil(teacher, student, 1 / temperature)


def multiplied_with_the_factor(teacher, student, temperature):
    return temperature**4 * distil(teacher, student, 1 / temperature)


def student_not_softened(teacher, student, temperature):
    return temperature**2 * cross_entropy(ops.stop_gradient(soft(teacher, temperature)), student)


def teacher_not_softened(teacher, student, temperature):
    return temperature**2 * cross_entropy(ops.stop_gradient(soft(teacher, 1.0)), student / temperature)


def sign(teacher, student, temperature):
    return -distil(teacher, student, temperature)


def swapped(teacher, student, temperature):
    return divergence_of(student, ops.stop_gradient(teacher), temperature)


def divergence_of(one, other, temperature):
    p, log_q = soft(one, temperature), ops.log_softmax(other / temperature)
    return temperature**2 * ops.mean(ops.sum(p * (ops.log(p) - log_q), axis=1))


def swapped_cross_entropy(teacher, student, temperature):
    constant = ops.stop_gradient(teacher)
    return temperature**2 * cross_entropy(soft(student, temperature), constant / temperature)


def summed(teacher, student, temperature):
    return len(teacher) * distil(teacher, student, temperature)


def mean_of_classes(teacher, student, temperature):
    return distil(teacher, student, temperature) / teacher.shape[1]


def first_choice(teacher, student, temperature):
    labels = ops.one_hot(ops.argmax(teacher, axis=1), teacher.shape[1])
    return temperature**2 * cross_entropy(labels, student / temperature)


def squared(teacher, student, temperature):
    p = ops.stop_gradient(soft(teacher, temperature))
    return temperature**2 * ops.mean(ops.sum((p - soft(student, temperature)) ** 2, axis=1))


def of_logits(teacher, student, temperature):
    return ops.mean(ops.square(ops.stop_gradient(teacher) - student))


# Two seeds of 100 images; classes 0 and 1 are old, 2 and 3 new.
RNG = np.random.default_rng(5)
IS_NEW = np.array([False, False, True, True])
LABELS = np.tile(np.arange(4), 25)
STREAM, REST = np.array_split(RNG.permutation(100), 2)


def outputs():
    logits = 2.0 * np.eye(4)[LABELS] + RNG.normal(size=(100, 4)) + np.where(IS_NEW, -1.5, 0)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


PROBABILITIES = [outputs() for _ in range(2)]


def with_offset(sign=1, scored=REST):
    correct = []
    for log in map(np.log, PROBABILITIES):
        offset = sign * np.median((log[:, :2].max(axis=1) - log[:, 2:].max(axis=1))[STREAM])
        predicted = (log + np.where(IS_NEW, offset, 0)).argmax(axis=1)
        correct.append((predicted == LABELS)[scored])
    return float(np.mean(correct))


WRONG_OFFSETS = ((0,), (-1,), (1, slice(None)))

ANSWERS = {
    "13.1": {"right": [3, 0], "wrong": [[0, 3], [2, 2], [3, 2], [1, 0], [3, 3], [3], 3, "3, 0"]},
    "13.2": {
        "right": distil,
        "wrong": [
            per_image,
            teacher_learns,
            student_stopped,
            stopped_at_the_wrong_one,
            with_numpy,
            not_softened,
            only_the_factor,
            no_factor,
            factor_not_squared,
            multiplied,
            multiplied_with_the_factor,
            student_not_softened,
            teacher_not_softened,
            sign,
            swapped,
            swapped_cross_entropy,
            summed,
            mean_of_classes,
            first_choice,
            squared,
            of_logits,
            0.5,
        ],
    },
    "13.3": {
        "right": with_offset(),
        "wrong": [*(with_offset(*each) for each in WRONG_OFFSETS), with_offset() + 0.004, 0.1, 80, "0.5"],
        "facts": {
            "probabilities": PROBABILITIES,
            "labels": LABELS,
            "stream": STREAM,
            "rest": REST,
            "is_new": IS_NEW,
        },
    },
}
