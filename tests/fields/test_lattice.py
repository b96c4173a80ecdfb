"""The lattice's periodicity and bookkeeping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yt_protohalos.exceptions import LatticeError
from yt_protohalos.fields.lattice import Lattice, circular_mean, unwrap, wrap

integers = st.integers(-40, 40)


@pytest.fixture(scope="module")
def cube() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((7, 7, 7))


@given(start=st.tuples(integers, integers, integers), shift=st.tuples(integers, integers, integers))
@settings(max_examples=25, deadline=None)
def test_cropping_commutes_with_periodic_shifts(cube, start, shift):
    lattice = Lattice(7, 3.0)
    moved = tuple(s + d for s, d in zip(start, shift, strict=True))
    shifted = lattice.shifted(cube, shift)
    np.testing.assert_array_equal(lattice.crop(shifted, moved, (4, 9, 5)), lattice.crop(cube, start, (4, 9, 5)))


@given(start=st.tuples(integers, integers, integers))
@settings(max_examples=25, deadline=None)
def test_pasting_a_crop_back_changes_nothing_and_fills_its_place(cube, start):
    lattice = Lattice(7, 3.0)
    block = lattice.crop(cube, start, (3, 7, 2))
    empty = np.zeros_like(cube)
    lattice.paste(empty, block, start)
    np.testing.assert_array_equal(lattice.crop(empty, start, (3, 7, 2)), block)
    assert np.count_nonzero(empty) == block.size
    kept = cube.copy()
    lattice.paste(kept, block, start)
    np.testing.assert_array_equal(kept, cube)


def test_flat_index_and_sites_are_inverse_and_row_major(cube):
    lattice = Lattice(7, 3.0)
    flat = np.arange(lattice.n_sites)
    np.testing.assert_array_equal(lattice.flat_index(lattice.sites(flat)), flat)
    np.testing.assert_array_equal(lattice.flat_index(lattice.sites(flat) - 14), flat)
    np.testing.assert_array_equal(cube[tuple(lattice.sites(flat).T)], cube.ravel())


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_nearest_site_finds_the_site_of_a_slightly_moved_particle_across_the_seam(offset):
    lattice = Lattice(6, 4.5)
    sites = lattice.sites(np.arange(lattice.n_sites))
    moved = (sites + offset) * lattice.spacing + 0.49 * lattice.spacing * np.array([1, -1, 1])
    np.testing.assert_array_equal(lattice.nearest_site(moved % 4.5, offset), sites)


@given(x=st.floats(-1e3, 1e3))
@settings(max_examples=50, deadline=None)
def test_minimum_image_differs_by_whole_boxes_and_is_at_most_half_a_box(x):
    lattice = Lattice(4, 5.0)
    image = float(lattice.minimum_image(x))
    assert -2.5 <= image <= 2.5
    assert (x - image) / 5.0 == pytest.approx(round((x - image) / 5.0), abs=1e-9)


@pytest.mark.parametrize("n", [6, 7])
def test_wavenumbers_are_those_of_plane_waves(n):
    lattice = Lattice(n, 3.0)
    kx, ky, kz = lattice.wavenumbers()
    x = np.arange(n) * lattice.spacing
    mode = (2, 1, 1)
    wave = np.cos(2 * np.pi / 3.0 * (2 * x[:, None, None] + x[None, :, None] + x[None, None, :]))
    found = np.unravel_index(np.argmax(np.abs(np.fft.rfftn(wave))), (n, n, n // 2 + 1))
    k = np.abs([kx[found[0], 0, 0], ky[0, found[1], 0], kz[0, 0, found[2]]])
    np.testing.assert_allclose(k, 2 * np.pi / 3.0 * np.array(mode), rtol=1e-6)


@pytest.mark.parametrize(("n", "size"), [(0, 1.0), (-2, 1.0), (2.5, 1.0), (True, 1.0), (4, 0.0), (4, np.nan)])
def test_impossible_lattices_are_refused(n, size):
    with pytest.raises(LatticeError, match=r"give"):
        Lattice(n, size)


def test_cubes_and_blocks_of_the_wrong_shape_are_refused(cube):
    lattice = Lattice(7, 3.0)
    with pytest.raises(LatticeError, match="one value per site"):
        lattice.crop(cube[:5], (0, 0, 0), (2, 2, 2))
    with pytest.raises(LatticeError, match="at most one period"):
        lattice.paste(cube.copy(), np.zeros((8, 2, 2)), (0, 0, 0))


@given(shift=st.floats(-3, 9))
@settings(max_examples=25, deadline=None)
def test_means_of_groups_move_with_a_periodic_shift(shift):
    rng = np.random.default_rng(5)
    group = rng.integers(0, 4, 60)
    compact = np.array([0.1, 2.0, 4.4, 5.8])[group][:, None] + rng.uniform(-0.7, 0.7, (60, 3))
    moved = wrap(compact + shift, 6.0)
    assert (moved >= 0).all() and (moved < 6).all()
    separation = circular_mean(moved, 6.0, group) - circular_mean(compact, 6.0, group) - shift
    np.testing.assert_allclose(np.rint(separation / 6) * 6, separation, atol=1e-12)
    one = circular_mean(moved[group == 2], 6.0)
    np.testing.assert_allclose(circular_mean(moved, 6.0, group)[2], one, atol=1e-12)
    np.testing.assert_allclose(circular_mean(moved[:, 1], 6.0, group), circular_mean(moved, 6.0, group)[:, 1])


@pytest.mark.parametrize("period", [6.0, 6])
def test_unwrapped_groups_are_whole(period):
    values = np.array([5.5, 0.25, 5.75, 2.0, 3.0])
    group = np.array([0, 0, 0, 1, 1])
    moved = unwrap(values, period, group)
    np.testing.assert_allclose(np.diff(moved[:3]), [0.75, -0.5])
    np.testing.assert_array_equal(moved[3:], [2, 3])
    np.testing.assert_array_equal(wrap(np.array([-1e-20, 6.0, -0.5]), 6.0), [0, 0, 5.5])


def test_groups_without_members_have_a_row():
    assert circular_mean(np.empty((0, 3)), 6.0, np.empty(0, dtype=int), 2).shape == (2, 3)
