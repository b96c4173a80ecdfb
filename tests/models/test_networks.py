"""Laws of the V-Net, its channels and its losses."""

from __future__ import annotations

import numpy as np
import pytest

from yt_protohalos.exceptions import ModelError
from yt_protohalos.models.channels import FIELD_CHANNELS, POSITION_CHANNELS, network_input, remove_gauge
from yt_protohalos.models.vnet import build_vnet
from yt_protohalos.training.losses import balanced_cross_entropy, scaled_weinberger, weinberger


def numpy_weinberger(
    labels: np.ndarray, points: np.ndarray, pull=0.5, push=1.5, weights=(1.0, 1.0, 0.001), power=0.0
) -> float:
    """Equations 4-7 written as loops, with the hinge of De Brabandere et al. (2017)."""
    names = [name for name in np.unique(labels) if name > 0]
    if not names:
        return 0.0
    centres = {name: points[labels == name].mean(axis=0) for name in names}
    l_pull = total = 0.0
    for name in names:
        distances = np.linalg.norm(points[labels == name] - centres[name], axis=1)
        share = len(distances) ** power
        l_pull += share * np.mean(np.maximum(distances - pull, 0) ** 2)
        total += share
    l_push = 0.0
    for a in names:
        for b in names:
            if a != b:
                l_push += max(2 * push - np.linalg.norm(centres[a] - centres[b]), 0) ** 2
    count = len(names)
    l_reg = np.mean([np.linalg.norm(centres[name]) for name in names])
    return weights[0] * l_pull / total + weights[1] * l_push / max(count * (count - 1), 1) + weights[2] * l_reg


def gradient(loss, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Gradient of a keras loss with respect to the prediction, on the tensorflow backend."""
    tensorflow = pytest.importorskip("tensorflow")
    variable = tensorflow.Variable(prediction)
    with tensorflow.GradientTape() as tape:
        value = loss(tensorflow.constant(target), variable)
    return tape.gradient(value, variable).numpy()


def numeric_gradient(function, x: np.ndarray, entries: list[tuple], step: float = 1e-4) -> list[float]:
    """Central differences of a float64 function at some entries of x."""
    slopes = []
    for entry in entries:
        up, down = x.copy(), x.copy()
        up[entry] += step
        down[entry] -= step
        slopes.append((function(up) - function(down)) / (2 * step))
    return slopes


@pytest.mark.parametrize("by_radius", [False, True])
@pytest.mark.parametrize("n_labels", [0, 1, 2, 7])
def test_weinberger_equals_the_plain_equations(n_labels: int, by_radius: bool) -> None:
    power = 1 / 3 if by_radius else 0.0
    rng = np.random.default_rng(n_labels)
    labels = rng.integers(0, n_labels + 1, size=(2, 4, 4, 4, 1)).astype(np.int32)
    points = rng.normal(scale=1.3, size=(2, 4, 4, 4, 3)).astype(np.float32)
    loss = weinberger(max_instances=9, by_radius=by_radius)
    value = float(np.asarray(loss(labels, points)))

    def plain(x: np.ndarray) -> float:
        return float(np.mean([numpy_weinberger(labels[b].ravel(), x[b].reshape(-1, 3), power=power) for b in range(2)]))

    assert value == pytest.approx(plain(points.astype(float)), rel=1e-5, abs=1e-6)
    entries = [tuple(int(rng.integers(s)) for s in points.shape) for _ in range(20)]
    analytic = gradient(loss, labels, points)
    expected = numeric_gradient(plain, points.astype(float), entries)
    assert [analytic[e] for e in entries] == pytest.approx(expected, rel=2e-3, abs=1e-6)
    assert np.all(analytic[labels[..., 0] == 0] == 0), "the background must not feel the loss"


def numpy_scaled_weinberger(
    labels: np.ndarray, points: np.ndarray, pull=0.3, push=1.0, weights=(1.0, 2.0, 0.05)
) -> float:
    """The scaled loss of one cubic crop as loops; unit 8 sites."""
    names = [name for name in np.unique(labels) if name > 0]
    sites = (np.moveaxis(np.indices(labels.shape), 0, -1) - 0.5 * (len(labels) - 1)) / 8
    l_pull = l_push = l_anchor = 0.0
    centre, radius = {}, {}
    for name in names:
        own, home = points[labels == name], sites[labels == name].mean(axis=0)
        centre[name], radius[name] = own.mean(axis=0), (3 * len(own) / (4 * np.pi)) ** (1 / 3) / 8
        extent = np.sqrt(5 / 3 * np.mean(np.sum((sites[labels == name] - home) ** 2, axis=1)) + 1 / 256)
        distances = np.linalg.norm(own - centre[name], axis=1) / extent
        l_pull += radius[name] * np.mean(np.maximum(distances - pull, 0) ** 2)
        l_anchor += radius[name] * np.sum((centre[name] - home) ** 2) / extent**2
    for a in names:
        for b in names:
            if a != b:
                reach = push * (radius[a] + radius[b])
                l_push += max(1 - np.linalg.norm(centre[a] - centre[b]) / reach, 0) ** 2
    if not names:
        return 0.0
    total = sum(radius.values())
    return float(np.dot(weights, (l_pull / total, l_push / len(names), l_anchor / total)))


@pytest.mark.parametrize("n_labels", [0, 1, 4])
def test_scaled_weinberger_equals_its_definition_and_gradient(n_labels: int) -> None:
    rng = np.random.default_rng(n_labels)
    labels = rng.integers(0, n_labels + 1, size=(1, 6, 6, 6, 1)).astype(np.int32)
    points = rng.normal(scale=0.3, size=(1, 6, 6, 6, 3)).astype(np.float32)
    loss = scaled_weinberger(max_instances=7)

    def plain(x: np.ndarray) -> float:
        return numpy_scaled_weinberger(labels[0, ..., 0], x[0])

    assert float(np.asarray(loss(labels, points))) == pytest.approx(plain(points.astype(float)), rel=1e-5, abs=1e-6)
    entries = [tuple(int(rng.integers(s)) for s in points.shape) for _ in range(20)]
    analytic = gradient(loss, labels, points)
    assert [analytic[e] for e in entries] == pytest.approx(
        numeric_gradient(plain, points.astype(float), entries), rel=2e-3, abs=1e-6
    )
    assert np.all(analytic[labels[..., 0] == 0] == 0), "the background must not feel the loss"


def test_instances_of_any_size_cost_the_same_under_the_scaled_loss() -> None:
    costs = []
    for side in (8, 24):
        inside = np.linalg.norm(np.indices((side,) * 3) - 0.5 * (side - 1), axis=0) < 0.45 * side
        axis = (np.arange(side) - 0.5 * (side - 1)) / 8
        places = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).astype(np.float32)
        labels = inside.astype(np.int32)[None, ..., None]
        costs.append([float(np.asarray(scaled_weinberger(2)(labels, f * places[None]))) for f in (0.2, 1.0)])
    (small_done, small), (large_done, large) = costs
    assert small == pytest.approx(large, rel=0.1) and small > 0.15
    assert max(small_done, large_done) < 1e-12, "contracted to three tenths of its extent, a ball is left alone"


def test_weinberger_ignores_the_numbering_of_instances() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, size=(1, 5, 5, 5, 1)).astype(np.int32)
    points = rng.normal(size=(1, 5, 5, 5, 3)).astype(np.float32)
    renumber = np.array([0, 4, 9, 2, 7, 1], dtype=np.int32)
    loss = weinberger(max_instances=10)
    assert float(np.asarray(loss(renumber[labels], points))) == pytest.approx(
        float(np.asarray(loss(labels, points))), rel=1e-5
    )


def test_balanced_cross_entropy_equals_equation_3_and_its_gradient() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, size=(2, 3, 3, 3, 1)).astype(np.int32)
    probability = rng.uniform(0.02, 0.98, size=truth.shape).astype(np.float32)
    beta = 0.5815

    def plain(p: np.ndarray) -> float:
        return float(np.mean(-beta * truth * np.log(p) - (1 - beta) * (1 - truth) * np.log(1 - p)))

    loss = balanced_cross_entropy(beta)
    assert float(np.asarray(loss(truth, probability))) == pytest.approx(plain(probability.astype(float)), rel=1e-5)
    entries = [tuple(int(rng.integers(s)) for s in truth.shape) for _ in range(10)]
    analytic = gradient(loss, truth, probability)
    expected = numeric_gradient(plain, probability.astype(float), entries)
    assert [analytic[e] for e in entries] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.2, float("nan")])
def test_beta_must_be_a_share(beta: float) -> None:
    with pytest.raises(ModelError, match="beta"):
        balanced_cross_entropy(beta)


def test_the_paper_network_has_the_paper_shape() -> None:
    network = build_vnet(144, 2, "semantic")
    assert network.output_shape == (None, 128, 128, 128, 1)
    sides = {layer.output.shape[1] for layer in network.layers if layer.name.startswith("down")}
    assert sides == {144, 72, 36, 18, 9}
    assert network.get_layer("down3_3").output.shape[1:] == (9, 9, 9, 128)
    assert network.count_params() > 3e6


@pytest.mark.parametrize(("head", "last"), [("semantic", 1), ("instance", 3)])
def test_heads(head: str, last: int) -> None:
    network = build_vnet(16, 5, head, margin=4, filters=(2, 3, 4), input_skip=head == "instance")
    out = np.asarray(network(np.random.default_rng(1).normal(size=(1, 16, 16, 16, 5)).astype(np.float32)))
    assert out.shape == (1, 8, 8, 8, last)
    assert out.dtype == np.float32
    if head == "semantic":
        assert out.min() >= 0 and out.max() <= 1


def test_a_residual_block_starts_as_the_identity() -> None:
    x = np.random.default_rng(1).normal(size=(1, 16, 16, 16, 2)).astype(np.float32)
    plain, residual = (build_vnet(16, 2, "semantic", margin=0, filters=(4, 8), residual=flag) for flag in (False, True))
    assert plain.count_params() == residual.count_params()
    names = ("down0_1_relu", "down0_2_relu")
    probe = type(residual)(residual.input, [residual.get_layer(name).output for name in names])
    entered, left = (np.asarray(output) for output in probe(x))
    assert np.allclose(left, np.where(entered < 0, 0.1 * entered, entered), atol=1e-6)


def test_mixed_precision_stays_close_to_float32() -> None:
    x = np.random.default_rng(1).normal(size=(1, 16, 16, 16, 2)).astype(np.float32)
    full = build_vnet(16, 2, "semantic", margin=0, filters=(4, 8))
    mixed = build_vnet(16, 2, "semantic", margin=0, filters=(4, 8), dtype_policy="mixed_bfloat16")
    mixed.set_weights(full.get_weights())
    assert np.abs(np.asarray(full(x)) - np.asarray(mixed(x))).max() < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"side": 150}, "150 is not a multiple of 16.*144 or 160"),
        ({"head": "panoptic"}, "panoptic"),
        ({"margin": 72}, "margin 72"),
        ({"filters": (16,)}, "filters"),
        ({"in_channels": 0}, "in_channels"),
    ],
)
def test_impossible_architectures_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_vnet(**arguments)


def test_a_constant_and_a_gradient_of_phi_change_no_channel() -> None:
    rng = np.random.default_rng(5)
    delta, phi = rng.normal(size=(2, 12, 12, 12)).astype(np.float32)
    q = np.indices((12, 12, 12)).astype(np.float32)
    moved = phi + 3.0 + 0.2 * q[0] - 0.4 * q[1] + 0.1 * q[2]
    scales = {"delta": 5.0, "phi": 2.0}
    first = network_input({"delta": delta, "phi": phi}, POSITION_CHANNELS, scales)
    second = network_input({"delta": delta, "phi": moved}, POSITION_CHANNELS, scales)
    assert np.allclose(first, second, atol=1e-5)
    assert abs(remove_gauge(phi).mean()) < 1e-6
    assert np.array_equal(first[..., 0], delta / np.float32(5.0))
    assert np.allclose(first[..., 2:].mean(axis=(0, 1, 2)), 0, atol=1e-6)


def test_normalisation_must_be_complete_and_positive() -> None:
    cube = np.zeros((4, 4, 4), dtype=np.float32)
    with pytest.raises(ModelError, match="phi"):
        network_input({"delta": cube, "phi": cube}, FIELD_CHANNELS, {"delta": 5.0})
    with pytest.raises(ModelError, match="delta"):
        network_input({"delta": cube, "phi": cube}, FIELD_CHANNELS, {"delta": 0.0, "phi": 1.0})
