"""Particles read in chunks give the field of the whole, in little memory, and leave nothing behind."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
import yt
from initial_files import REDSHIFT, Particles, realisation, write_gadget2

from yt_protohalos.exceptions import InitialConditionsError, LatticeError
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.initial_conditions import displacement_checks
from yt_protohalos.initial_conditions.reconstruction import field_from_source
from yt_protohalos.initial_conditions.sources import ArraySource, in_memory
from yt_protohalos.yt_interface import linear
from yt_protohalos.yt_interface import particles as yt_particles
from yt_protohalos.yt_interface.linear import linear_field, particle_sites
from yt_protohalos.yt_interface.load import load

yt.set_log_level(50)

ORDERS = ("row-major", "x fastest", "permuted", "no IDs", "IDs of no order")


@pytest.fixture(scope="module")
def particles() -> Particles:
    return realisation(16)


def source(particles: Particles, order: str, chunk: int, moved: float = 0.0) -> ArraySource:
    lattice = particles.field.lattice
    ids: np.ndarray | None = np.arange(lattice.n_sites)
    stored = np.random.default_rng(4).permutation(ids) if order in ("permuted", "IDs of no order") else ids
    if order == "x fastest":
        ids = ids.reshape(lattice.shape).transpose(2, 1, 0).ravel()
    if order == "IDs of no order":
        ids = 3 * np.random.default_rng(5).permutation(ids)
    positions = (particles.positions.astype(float) + moved * lattice.spacing) % lattice.box_size
    ids = None if order == "no IDs" else ids[stored]
    masses = np.full(lattice.n_sites, particles.mass)
    return ArraySource(positions[stored], particles.velocities[stored], ids, masses, chunk)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("chunk", [100, 257, 4095])
def test_chunks_of_any_size_give_the_field_of_the_whole(particles, order, chunk):
    size = particles.field.box_size
    whole, sites = field_from_source(source(particles, order, 4096), size, PAPER_COSMOLOGY, REDSHIFT)
    field, same = field_from_source(source(particles, order, chunk), size, PAPER_COSMOLOGY, REDSHIFT)
    np.testing.assert_array_equal(field.delta, whole.delta)
    np.testing.assert_array_equal(field.phi, whole.phi)
    assert (same.id_base, same.axis_order, same.shift, same.site_offset) == (
        sites.id_base, sites.axis_order, sites.shift, sites.site_offset,
    )  # fmt: skip
    if sites.keys is not None:
        np.testing.assert_array_equal(same.keys, sites.keys)
        np.testing.assert_array_equal(same.sites, sites.sites)


def test_a_measured_offset_depends_on_the_chunks_by_rounding_alone(particles):
    size, both = particles.field.box_size, []
    for chunk in (4096, 300):
        field, _ = field_from_source(source(particles, "permuted", chunk, 0.25), size, PAPER_COSMOLOGY, REDSHIFT)
        both.append(field)
    assert both[0].site_offset == pytest.approx(both[1].site_offset, abs=1e-12)
    np.testing.assert_allclose(both[0].delta, both[1].delta, atol=1e-4)


def test_defects_in_single_chunks_are_counted_over_all_of_them(particles):
    size = particles.field.box_size
    broken = particles.velocities.copy()
    broken[[5, 4000], 1] = np.nan
    ids = np.arange(4096)
    with pytest.raises(InitialConditionsError, match="velocities hold 2 NaN"):
        field_from_source(ArraySource(particles.positions, broken, ids, chunk=64), size, PAPER_COSMOLOGY, REDSHIFT)
    ids[[7, 4001]] = 8
    with pytest.raises(InitialConditionsError, match="2 of 4096 particle IDs are duplicates"):
        field_from_source(ArraySource(particles.positions, None, ids, chunk=64), size, PAPER_COSMOLOGY, REDSHIFT)
    with pytest.raises(LatticeError, match="4095 IDs for 4096 particles"):
        ArraySource(particles.positions, None, ids[1:])


@pytest.mark.parametrize("promised", [3375, 4913])
def test_sources_that_hold_another_number_of_particles_than_they_count_are_refused(particles, promised):
    lying = source(particles, "row-major", 500)
    lying.count = promised
    chunks = source(particles, "row-major", 500).chunks
    lying.chunks = chunks
    for use in (in_memory, lambda each: field_from_source(each, particles.field.box_size, PAPER_COSMOLOGY, REDSHIFT)):
        with pytest.raises(InitialConditionsError, match=f"4096 particles were read, but the file counts {promised};"):
            use(lying)


def test_waves_along_one_axis_need_no_displacement_along_the_others(particles):
    lattice = particles.field.lattice
    sites = lattice.sites(np.arange(lattice.n_sites)) * lattice.spacing
    rate = PAPER_COSMOLOGY.growth_rate(REDSHIFT) * PAPER_COSMOLOGY.hubble(REDSHIFT) / (1 + REDSHIFT)
    for axis in range(3):
        shift = np.zeros_like(sites)
        shift[:, axis] = 0.05 * lattice.spacing * np.sin(2 * np.pi * sites[:, axis] / lattice.box_size)
        moved = ArraySource((sites + shift) % lattice.box_size, rate * shift, np.arange(lattice.n_sites), chunk=999)
        field, _ = field_from_source(moved, lattice.box_size, PAPER_COSMOLOGY, REDSHIFT)
        wave = -np.cos(2 * np.pi * np.arange(lattice.n) / lattice.n)
        shape = [1, 1, 1]
        shape[axis] = lattice.n
        expected = np.broadcast_to(field.delta.max() * wave.reshape(shape), lattice.shape)
        np.testing.assert_allclose(field.delta, expected, atol=1e-3 * float(field.delta.max()))


def test_a_box_with_counting_ids_needs_sixteen_bytes_per_site_at_most(monkeypatch):
    # what does not grow with the box would drown what does
    monkeypatch.setattr(displacement_checks, "_SAMPLE", 1000)
    monkeypatch.setattr(displacement_checks, "_SAMPLED_PLANES", 2)
    own = realisation(64)
    stored = ArraySource(own.positions, own.velocities, np.arange(64**3), chunk=4096)
    tracemalloc.start()
    try:
        field, _ = field_from_source(stored, own.field.box_size, PAPER_COSMOLOGY, REDSHIFT)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert field.n == 64
    assert kept / 64**3 < 9
    assert peak / 64**3 < 16


# through yt


@pytest.mark.parametrize("files", [1, 3])
def test_a_file_read_in_every_pass_gives_the_field_of_one_held_in_memory(tmp_path, particles, monkeypatch, files):
    order = np.random.default_rng(6).permutation(4096)
    path = write_gadget2(tmp_path / "ics.dat", particles, order=order, files=files)
    held = linear_field(load(path))
    monkeypatch.setattr(linear, "LARGEST_HELD", 0)
    monkeypatch.setattr(yt_particles, "CHUNK", 1000)
    ds = load(path)
    streamed = linear_field(ds)
    np.testing.assert_array_equal(streamed.delta, held.delta)
    np.testing.assert_array_equal(streamed.phi, held.phi)
    assert len(np.unique(particle_sites(ds, "all", ds.all_data()))) == 4096


@pytest.mark.parametrize("largest_held", [0, 256**3])
def test_reading_leaves_nothing_but_the_field_in_memory(tmp_path, monkeypatch, largest_held):
    monkeypatch.setattr(linear, "LARGEST_HELD", largest_held)
    small, large = (write_gadget2(tmp_path / f"{n}.dat", realisation(n)) for n in (8, 48))
    linear_field(load(small))  # whatever libraries keep of their first use
    ds = load(large)
    ds.index  # noqa: B018
    ds.derived_field_list  # noqa: B018
    tracemalloc.start()
    try:
        field = linear_field(ds)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # one quantity of the particles alone takes four bytes per particle or more
    assert kept < field.delta.nbytes + field.phi.nbytes + 3 * 48**3
