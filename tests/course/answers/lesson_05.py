from keras import ops


def cosine(a, b):
    return ops.mean(ops.sum(ops.normalize(a, axis=-1) * ops.normalize(b, axis=-1), axis=-1))


def right(p1, p2, z1, z2):
    return -(cosine(p1, ops.stop_gradient(z2)) + cosine(p2, ops.stop_gradient(z1))) / 2


def without_stop(p1, p2, z1, z2):
    return -(cosine(p1, z2) + cosine(p2, z1)) / 2


def stopped_on_one_side(p1, p2, z1, z2):
    return -(cosine(p1, ops.stop_gradient(z2)) + cosine(p2, z1)) / 2


def predictions_stopped(p1, p2, z1, z2):
    return right(ops.stop_gradient(p1), ops.stop_gradient(p2), z1, z2)


def other_sign(p1, p2, z1, z2):
    return -right(p1, p2, z1, z2)


def own_view(p1, p2, z1, z2):
    return right(p1, p2, z2, z1)


def sum_of_both(p1, p2, z1, z2):
    return 2 * right(p1, p2, z1, z2)


def one_prediction_stopped(p1, p2, z1, z2):
    return right(ops.stop_gradient(p1), p2, z1, z2)


RIGHT = {"a": "inductive", "b": "unsupervised", "c": "transductive", "d": "inductive"}
ANSWERS = {
    "05.1": {
        "right": RIGHT,
        "wrong": [
            RIGHT | {"a": "unsupervised"},
            RIGHT | {"b": "inductive"},
            RIGHT | {"c": "inductive"},
            RIGHT | {"d": "unsupervised"},
            RIGHT | {"a": "self-taught"},
        ],
    },
    "05.2": {
        "right": right,
        "wrong": [
            without_stop,
            stopped_on_one_side,
            predictions_stopped,
            other_sign,
            own_view,
            sum_of_both,
            one_prediction_stopped,
            lambda p1, p2, z1, z2: None,
            lambda p, z: right(p, p, z, z),
        ],
    },
    "05.3": {
        "right": 0.31,
        "wrong": [0.36, 0.05, 0.9, 1.2],
        "facts": {"coloured": 0.36, "untrained": 0.17},
    },
}
