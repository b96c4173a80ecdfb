"""Approximate evolution: its limits that are known exactly, its symmetries, and the TreePM run."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import fft
from standins import make_field, make_network, make_predictor

from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.exceptions import ModelError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.evolution import DENSITY_NAMES, STEPS, evolve_field
from yt_protohalos.fields.fourier import displacement_component, potential, second_order_source
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.models.channels import (
    CHANNELS,
    EVOLVED_INSTANCE,
    EVOLVED_SEMANTIC,
    ModelInput,
    check_channels,
    network_input,
    transform,
)
from yt_protohalos.models.symmetry import spread_symmetries

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
N = 24


@pytest.fixture(scope="module")
def field():
    return make_field(N)


def linear(delta, lattice: Lattice) -> LinearField:
    return LinearField.from_density(delta, lattice.box_size, PAPER_COSMOLOGY, 49.0)


def perturbation_theory(delta, lattice: Lattice, order: int) -> np.ndarray:
    """Displacement in sites of Lagrangian perturbation theory, (3, n, n, n)."""
    phi = potential(delta, lattice)
    psi = np.stack([displacement_component(phi, lattice, axis) for axis in range(3)])
    if order == 2:
        second = potential(second_order_source(phi, lattice), lattice)
        # psi2 = D2 grad(phi2) with D2 = -3/7, and displacement_component gives -grad
        psi += np.stack([3 / 7 * displacement_component(second, lattice, axis) for axis in range(3)])
    return psi / lattice.spacing


def test_a_uniform_field_stays(field) -> None:
    evolved = evolve_field(replace(field, delta=np.zeros_like(field.delta)))
    assert not evolved.displacement.any()
    assert evolved.density.shape == (len(DENSITY_NAMES), N, N, N)
    np.testing.assert_allclose(evolved.density.astype(float), 0, atol=1e-3)


def test_a_plane_wave_follows_zeldovich_which_is_exact_in_one_dimension() -> None:
    """With a particle per cell the mesh sees its own grid, which moves sites by up to half a site, never more."""
    n, amplitude = 48, 0.5
    lattice = Lattice(n, 24.0)
    q = 2 * np.pi * np.arange(n) / n
    delta = np.broadcast_to(amplitude * np.cos(q)[:, None, None], lattice.shape).astype(np.float32)
    evolved = evolve_field(linear(delta, lattice))
    exact = -amplitude * np.sin(q) * n / (2 * np.pi)
    error = evolved.displacement[0, :, 0, 0] - exact
    assert np.abs(error).max() < 0.5
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(exact**2))
    assert np.abs(evolved.displacement[1:]).max() < 1e-5


def test_large_waves_follow_second_order_perturbation_theory() -> None:
    """Before any shells cross; the rest is third order and, as above, the grid."""
    lattice = Lattice(64, 32.0)
    random, spectrum = np.random.default_rng(4), np.zeros((64, 64, 33), dtype=np.complex64)
    for x, y, z in product((-1, 0, 1), (-1, 0, 1), (1,)):
        spectrum[x, y, z] = complex(*random.normal(size=2))
    delta = fft.irfftn(spectrum, s=lattice.shape).astype(np.float32)
    delta *= np.float32(0.6 / delta.std())
    moved = evolve_field(linear(delta, lattice)).displacement
    first, second = (perturbation_theory(delta, lattice, order) for order in (1, 2))
    error = [float(np.std(moved - expected)) for expected in (first, second)]
    assert error[1] < 0.6 * error[0]


def test_shifts_and_symmetries_move_everything_along(field) -> None:
    evolved = evolve_field(field)
    shift = (3, -5, 7)
    shifted = evolve_field(replace(field, delta=field.lattice.shifted(field.delta, shift)))
    for axis in range(3):
        expected = field.lattice.shifted(evolved.displacement[axis], shift)
        np.testing.assert_allclose(shifted.displacement[axis], expected, atol=0.02)
    turned_field = type(field).from_density(
        spread_symmetries(3)[2].apply(field.delta), field.box_size, field.cosmology, field.redshift
    )
    cubes, turned = (
        ModelInput(each, evolve_field(each), np.zeros_like(each.delta)).crop(EVOLVED_INSTANCE, (0, 0, 0), N)
        for each in (field, turned_field)
    )
    symmetry = spread_symmetries(3)[2]
    assert symmetry.axes != (0, 1, 2) and any(symmetry.flips)
    for name, cube in transform(cubes, symmetry).items():
        # a flip of the lattice maps site i to n - 1 - i, and the whole evolution with it
        np.testing.assert_allclose(turned[name].astype(float), cube.astype(float), atol=0.05, err_msg=name)


def test_the_same_field_evolves_to_the_same_bytes(field) -> None:
    first, again = evolve_field(field), evolve_field(field)
    np.testing.assert_array_equal(first.displacement, again.displacement)
    np.testing.assert_array_equal(first.density, again.density)
    steps = []

    def watch(items, title, total):
        steps.append((title, total))
        return items

    evolve_field(field, progress=watch)
    assert steps == [("Evolving the linear field", STEPS)]


def test_channels_are_named_ordered_and_whole(field) -> None:
    for names in (EVOLVED_SEMANTIC, EVOLVED_INSTANCE, ("phi",), CHANNELS):
        check_channels(names)
    for names in ((), ("phi", "delta"), ("delta", "delta"), ("delta", "colour"), ("delta", "q_x")):
        with pytest.raises(ModelError, match="channels"):
            check_channels(names)
    evolved = evolve_field(field)
    cubes = ModelInput(field, evolved).crop(("delta", "x_x", "x_y", "x_z"), (-3, 2, 5), 8)
    stacked = network_input(cubes, ("delta", "q_x", "q_y", "q_z", "x_x", "x_y", "x_z"), {"delta": 5.0})
    moved = field.lattice.crop(evolved.displacement[1], (-3, 2, 5), (8, 8, 8))
    np.testing.assert_allclose(stacked[..., 5] * 8.0, stacked[..., 2] * 64.0 + moved, atol=1e-4)
    with pytest.raises(ModelError, match="probability"):
        ModelInput(field, evolved).crop(EVOLVED_INSTANCE, (0, 0, 0), 8)
    with pytest.raises(ModelError, match="evolved field"):
        ModelInput(field).crop(EVOLVED_SEMANTIC, (0, 0, 0), 8)


def test_a_field_stays_as_it_is(field) -> None:
    with pytest.raises(ValueError, match="read-only"):
        field.delta[0, 0, 0] = 1.0
    own = np.zeros_like(field.delta)
    zero = replace(field, delta=own)
    own[0, 0, 0] = 1.0  # the array that was given stays writeable
    assert own.flags.writeable and not zero.delta.flags.writeable
    moved = field.with_cubes(field.delta.copy(), field.phi)
    assert moved.sha256 == field.sha256 and moved.delta is not field.delta
    assert field.without_cubes().delta.size == 0 and field.delta.size == N**3


def test_a_field_is_evolved_once_where_it_is_passed_on(field, monkeypatch) -> None:
    evolved = evolve_field(field)
    expected = evolved_predictor().predict(field, progress=False)
    for place in ("prediction.predictor", "models.base_card"):
        monkeypatch.setattr(f"yt_protohalos.{place}.evolve_field", None)
    found = evolved_predictor().predict(field, evolved=evolved, progress=False)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.evolved is evolved
    catalog = protohalo_catalog(found, field)
    np.testing.assert_array_equal(catalog.position, protohalo_catalog(expected, field, evolved).position)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the TreePM reference run is not beside the repository")
def test_sites_end_nearer_to_their_place_in_the_reference_run_than_perturbation_theory_puts_them() -> None:
    with h5py.File(REFERENCE / "treepm96.h5") as file:
        delta, position = file["delta_z0"][()], file["position_z0"][()]
    field = LinearField.from_density(delta, 18.75, PAPER_COSMOLOGY, 49.0)
    sites = np.moveaxis(np.indices(field.lattice.shape), 0, -1) * field.spacing

    def median_distance(displacement: np.ndarray) -> float:
        moved = sites + np.moveaxis(displacement, 0, -1) * field.spacing
        away = field.lattice.minimum_image(moved.reshape(position.shape) - position)
        return float(np.median(np.linalg.norm(away.reshape(-1, 3), axis=1)))

    evolved = median_distance(evolve_field(field).displacement)
    second_order = median_distance(perturbation_theory(field.delta, field.lattice, 2))
    # what docs/method.md says
    assert evolved == pytest.approx(0.23, abs=0.01)
    assert second_order == pytest.approx(0.95, abs=0.01)
    assert evolved < 0.35 * second_order


def evolved_predictor():
    """The stand-ins as networks that see the evolved field too; they read delta, the first channel, alone."""
    semantic = make_network("semantic", channels=EVOLVED_SEMANTIC, architecture=architecture("semantic"))
    instance = make_network("instance", channels=EVOLVED_INSTANCE, architecture=architecture("instance"))
    return make_predictor(semantic=semantic, instance=instance)


def architecture(head: str) -> dict:
    count = len(EVOLVED_SEMANTIC if head == "semantic" else EVOLVED_INSTANCE)
    return {"side": 40, "margin": 5, "in_channels": count, "head": head, "filters": (2, 4)}


def test_a_store_keeps_the_evolved_field_and_an_unfinished_one_starts_again(field, tmp_path, monkeypatch) -> None:
    expected = evolved_predictor().predict(replace(field), progress=False)
    steps = []

    def stop_after_five(items, title, total):
        for number, item in enumerate(items):
            if "Evolving" in title:
                steps.append(number)
                if number == 5:
                    raise KeyboardInterrupt
            yield item

    store = tmp_path / "crops"
    with pytest.raises(KeyboardInterrupt):
        evolved_predictor().predict(replace(field), progress=stop_after_five, store=store)
    assert "evolved_density" not in [path.stem for path in store.iterdir()]
    for _ in range(2):
        found = evolved_predictor().predict(replace(field), progress=False, store=store)
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.probability, expected.probability)
        # the second time everything is there
        monkeypatch.setattr("yt_protohalos.prediction.predictor.evolve_field", lambda *_: pytest.fail("evolved again"))
    assert not list(store.glob("evolving_*"))
