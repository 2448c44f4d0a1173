import keras
import numpy as np
import pytest
from pushes import mostly_full

from tlkit.data import Split
from tlkit.errors import DataError, NoLabelsError, TlkitError
from tlkit.models import build_classifier, reinitialize
from tlkit.techniques.domain_adaptation import CDAN, DANN, JAN, KLIEP, MCD, MMD, DomainAdapter, pair
from tlkit.techniques.domain_adaptation.alignment import ENCODER

RNG = np.random.default_rng(0)
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="other backends take the batches from Python at no cost"
)
LOSS = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


class Unreadable:
    """Labels that raise as soon as they are read."""

    def __array__(self, *args, **kwargs):
        raise AssertionError("target labels were read")

    def __getitem__(self, index):
        raise AssertionError("target labels were read")


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (n, 28, 28, 3)).astype("uint8")


def test_target_labels_cannot_be_read_anywhere_in_fit():
    source, target = Split(images(32), np.arange(32) % 3), Split(images(32, 1), np.arange(32) % 3)
    vars(target)["_labels"] = Unreadable()
    adapter = DomainAdapter(build_classifier("LeNet", 3, weights=None), DANN())
    adapter.compile("adam", **LOSS)
    adapter.fit(pair(source, target, batch_size=16), epochs=1, verbose=0)
    with pytest.raises(NoLabelsError):
        _ = target.unlabelled().labels


def test_the_classifier_is_saved_and_opens_without_the_adapter(tmp_path):
    model = build_classifier("LeNetBN", 3, weights=None)
    adapter = DomainAdapter(model, CDAN(entropy=True))
    adapter.compile("adam", **LOSS)
    adapter.fit(pair((images(32), np.arange(32) % 3), images(32, 1), batch_size=16), epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = images(8, 2)
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5)
    assert "tlkit" not in (tmp_path / "model.keras").read_bytes().decode("latin1")


def test_training_the_head_on_features_trains_the_whole_classifier():
    model = build_classifier("LeNet", 3, weights=None, bottleneck=8)
    before = model.predict(images(4), verbose=0)
    adapter = DomainAdapter(model.get_layer("head"), MMD())
    adapter.compile("adam", **LOSS)
    features = RNG.normal(size=(32, 100)).astype("float32")
    adapter.fit(pair((features, np.arange(32) % 3), features), epochs=2, verbose=0)
    assert (model.predict(images(4), verbose=0) != before).any()


@pytest.mark.parametrize("method", mostly_full([CDAN, MCD], CDAN))
def test_a_reinitialized_adapter_trains_as_at_first(method, small):
    adapter = DomainAdapter(small(batch_norm=True), method())
    adapter.compile("adam", **LOSS)
    x = RNG.normal(size=(64, 2)).astype("float32")
    losses = []
    for seed in (1, 2, 1):
        keras.utils.set_random_seed(seed)
        reinitialize(adapter)
        losses.append(adapter.fit(pair((x, np.arange(64) % 2), x + 1), epochs=2, verbose=0).history["loss"])
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[0], losses[2], rtol=1e-4)


def test_the_seed_of_the_pairs_alone_orders_the_batches(small):
    x, losses = RNG.normal(size=(80, 2)).astype("float32"), []
    for seed in (1, 2):
        adapter = DomainAdapter(small(), MMD())
        adapter.compile(keras.optimizers.SGD(0.5), **LOSS)
        keras.utils.set_random_seed(seed)
        pairs = pair((x, np.arange(80) % 2), x + 1, batch_size=8)
        losses += adapter.fit(pairs, epochs=1, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_parts_take_a_fraction_of_the_learning_rate_and_the_method_all_of_it(small, draw_kernels):
    class Part(DANN):
        trains = ENCODER

    x = RNG.normal(size=(64, 2)).astype("float32")
    steps = []
    for factor in (1.0, 0.1):
        network, method = small(), Part(rise=None)
        method.learning_rate_factor = factor
        adapter = DomainAdapter(network, method)
        draw_kernels(method, seed=103)
        adapter.compile(keras.optimizers.SGD(0.1), **LOSS)
        parts = network, method.discriminator
        before = [part.get_weights() for part in parts]
        adapter.fit(pair((x, np.arange(64) % 2), x + 1, batch_size=64), verbose=0)
        assert float(adapter.optimizer.learning_rate) == pytest.approx(0.1)  # for the next fit
        steps.append([part.get_weights()[0] - old[0] for part, old in zip(parts, before, strict=True)])
    np.testing.assert_allclose(steps[1][0], 0.1 * steps[0][0], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(steps[1][1], steps[0][1], rtol=1e-3, atol=1e-6)
    assert min(np.abs(step).max() for step in steps[0]) > 1e-4


def test_the_same_seed_gives_the_same_result(adapted, small):
    runs = [adapted(DANN(), network=small(), epochs=2)[0].classifier.get_weights() for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_strength_rises_from_zero_to_the_weight(adapted):
    method = MMD(weight=2.0)
    assert float(method.strength(0.0)) == 0
    assert float(method.strength(0.1)) == pytest.approx(2 * (2 / (1 + np.exp(-1)) - 1))
    assert float(MMD(weight=2.0, rise=None).strength(0.0)) == 2
    adapter, _ = adapted(method, epochs=3)
    assert float(adapter.done) == float(adapter.planned) == 24


def test_the_logs_name_both_terms_and_validation_has_neither(adapted, shifted):
    (x, y), _ = shifted
    _, history = adapted(JAN(), epochs=2, validation_data=(x, y))
    logs = history.history
    assert set(logs) == {"loss", "supervised_loss", "alignment_loss", "accuracy", "val_loss", "val_accuracy"}
    np.testing.assert_allclose(
        np.add(logs["supervised_loss"], logs["alignment_loss"]), logs["loss"], rtol=1e-3
    )


@pytest.mark.parametrize("method", mostly_full([JAN, KLIEP], JAN))
def test_callbacks_and_mixed_precision_work(method):
    class Counter(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1

    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_classifier("LeNet", 3, weights=None)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    adapter, seen = DomainAdapter(model, method()), Counter()
    adapter.compile("adam", **LOSS)
    pairs = pair((images(32), np.arange(32) % 3), images(32, 1), batch_size=16)
    history = adapter.fit(pairs, epochs=2, callbacks=[seen], verbose=0)
    assert seen.batches == 4
    assert np.isfinite(history.history["loss"]).all()


def test_a_loss_that_is_no_number_stops_and_loses_nothing(adapted, small):
    class Broken(MMD):
        def loss(self, source, target, strength):
            return super().loss(source, target, strength) / 0.0 * 0.0

    network = small()
    before = network.get_weights()
    with pytest.raises(TlkitError, match="the loss of Broken became nan in epoch 1"):
        adapted(Broken(), network=network, epochs=3)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_does_not_fit_together_is_refused():
    x, y = RNG.normal(size=(40, 5)), np.arange(40) % 3
    for source, target, size, said in (
        ((x, y), x[:1], 1, "target domain has 1 examples"),
        ((x, y), x[:10], 16, "fewer than a batch of 16"),
        ((x, y), x[:, :4], 16, r"shape \(5,\), one of the target \(4,\)"),
        ((x, y[:9]), x, 16, "40 inputs and 9 labels"),
        ((x, y), (x, y), 16, "target labels are never used"),
    ):
        with pytest.raises(DataError, match=said):
            pair(source, target, batch_size=size)
    with pytest.raises(NoLabelsError):
        pair(Split(images(8)), images(8))


def test_networks_that_cannot_be_adapted_are_refused(adapted):
    with pytest.raises(TlkitError, match="softmax"):
        DomainAdapter(build_classifier("LeNet", 3, weights=None, activation="tanh"), MMD())
    head = build_classifier("LeNet", 2, weights=None).get_layer("head")
    adapter = DomainAdapter(head, MMD())
    adapter.compile("adam", **LOSS)
    x = RNG.normal(size=(40, 100)).astype("float32")
    with pytest.raises(TlkitError, match="bottleneck=256"):
        adapter.fit(pair((x, np.arange(40) % 2), x), verbose=0)
    with pytest.raises(TlkitError, match=r"pair\(source, target\)"):
        adapter.fit(x)


def test_a_pair_passes_over_the_larger_domain_in_full_batches():
    pairs = pair((np.arange(50.0)[:, None], np.arange(50)), np.arange(20.0)[:, None], batch_size=8)
    assert len(pairs) == 7
    batches = [pairs[i] for i in range(len(pairs))]
    assert all(len(x["source"]) == len(x["target"]) == len(y) == 8 for x, y in batches)
    assert {int(v) for x, _ in batches for v in x["source"][:, 0]} == set(range(50))
    assert {int(v) for x, _ in batches for v in x["target"][:, 0]} == set(range(20))
    assert all((x["source"][:, 0] == y).all() for x, y in batches)
    pairs.on_epoch_end()
    assert (pairs[0][0]["source"] != batches[0][0]["source"]).any()


def few_and_many():
    """A source of 50 examples that are numbered, and a target of 20."""
    return (np.arange(50, dtype="float32")[:, None], np.arange(50)), np.arange(20, dtype="float32")[:, None]


@tensorflow_only
def test_as_tensors_the_batches_of_all_epochs_are_the_same():
    for weights in (None, np.arange(50) + 1.0):
        one, other = (pair(*few_and_many(), batch_size=8, seed=4) for _ in range(2))
        if weights is not None:
            one, other = one.weighted(weights), other.weighted(weights)
        found = iter(one.tensors(epochs=3))
        for _ in range(3):
            other.on_epoch_end()
            for i in range(len(other)):
                x, *rest = other[i]
                same_x, *same_rest = next(found)
                np.testing.assert_array_equal(
                    [same_x["source"], same_x["target"]], [x["source"], x["target"]]
                )
                assert len(rest) == len(same_rest)
                for a, b in zip(rest, same_rest, strict=True):
                    np.testing.assert_array_equal(a, b)
        assert next(found, None) is None
        assert one.epoch == other.epoch


@tensorflow_only
def test_small_arrays_go_to_keras_as_tensors_and_teach_the_same(small, monkeypatch):
    (x, y), weights = (RNG.normal(size=(80, 2)).astype("float32"), np.arange(80) % 2), []
    for largest in (2**20, 0):
        monkeypatch.setattr("tlkit.techniques.domain_adaptation.pairs.LARGEST", largest)
        adapter = DomainAdapter(small(), MMD())
        adapter.compile(keras.optimizers.SGD(0.5), **LOSS)
        pairs, epochs = pair((x, y), x[:30] + 1, batch_size=16), []
        assert pairs.small is (largest > 0)
        watch = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, seen=epochs: seen.append(logs)
        )
        adapter.fit(pairs, epochs=3, callbacks=[watch], verbose=0)
        assert len(epochs) == 3
        weights.append(adapter.classifier.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch runs each step by itself")
def test_steps_on_features_run_at_once_unless_a_callback_must_be_called_at_each(small):
    x, at_once, weights = RNG.normal(size=(80, 2)).astype("float32"), [], []
    steps: list[int] = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: steps.append(step))
    for callbacks in ([], [watch]):
        adapter = DomainAdapter(small(), MMD())
        adapter.compile(keras.optimizers.SGD(0.5), **LOSS)
        adapter.fit(
            pair((x, np.arange(80) % 2), x + 1, batch_size=16), epochs=2, callbacks=callbacks, verbose=0
        )
        at_once.append(adapter.steps_per_execution)
        weights.append(adapter.classifier.get_weights())
    assert at_once == ([5, 1] if keras.backend.backend() == "tensorflow" else [1, 1])
    assert steps == [*range(5), *range(5)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    adapter.compile(keras.optimizers.SGD(0.5), **LOSS, steps_per_execution=2)
    adapter.fit(pair((x, np.arange(80) % 2), x + 1, batch_size=20), epochs=1, verbose=0)
    assert adapter.steps_per_execution == 2


def test_files_and_memory_maps_are_not_taken_for_arrays_in_memory(tmp_path):
    source, target = few_and_many()
    np.save(tmp_path / "target.npy", target)
    assert pair(source, target, batch_size=8).small
    assert not pair(source, np.load(tmp_path / "target.npy", mmap_mode="r"), batch_size=8).small
