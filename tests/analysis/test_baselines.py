"""Laws of the simple methods: covariance under periodic shifts, known objects found, fractions matched."""

from __future__ import annotations

import numpy as np
import pytest
from standins import SPACING, make_field, same_partition

from yt_protohalos.analysis import baselines
from yt_protohalos.exceptions import LatticeError, ScoringError
from yt_protohalos.fields.lattice import Lattice

N = 32
LATTICE = Lattice(N, N * SPACING)
SHIFT = (7, 30, 13)


@pytest.fixture(scope="module")
def delta():
    return make_field(N, seed=3).delta


def separation(centre) -> np.ndarray:
    """Periodic distance of every site from a site, in sites."""
    axes = [LATTICE.minimum_image((np.arange(N) - c) * SPACING) / SPACING for c in centre]
    return np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2)


def methods(cube):
    """Label cubes of both methods that make haloes."""
    mask = baselines.threshold_mask(cube, LATTICE, 0.4)
    yield baselines.excursion_set_spheres(cube, LATTICE, min_sites=30)
    yield baselines.watershed_labels(cube, LATTICE, mask, min_sites=10)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.42, 1.0])
def test_the_threshold_takes_the_fraction_asked_for(delta, fraction):
    mask = baselines.threshold_mask(delta, LATTICE, fraction)
    assert mask.sum() == round(fraction * LATTICE.n_sites)


def test_the_threshold_takes_the_highest_sites_and_nests(delta):
    smooth = baselines.smoothed(delta, LATTICE, 2 * SPACING)
    small, large = (baselines.threshold_mask(delta, LATTICE, f, 2 * SPACING) for f in (0.2, 0.5))
    assert smooth[small].min() > smooth[~small].max()
    assert not np.any(small & ~large)
    assert np.array_equal(baselines.smoothed(delta, LATTICE, 0.0), delta)


def test_every_method_commutes_with_periodic_shifts(delta):
    shifted = LATTICE.shifted(delta, SHIFT)
    mask = baselines.threshold_mask(delta, LATTICE, 0.4)
    assert np.array_equal(baselines.threshold_mask(shifted, LATTICE, 0.4), LATTICE.shifted(mask, SHIFT))
    for here, there in zip(methods(delta), methods(shifted), strict=True):
        assert here.max() > 5
        assert same_partition(LATTICE.shifted(here, SHIFT), there)


def test_labels_are_numbered_by_size_and_none_is_small(delta):
    for labels, smallest in zip(methods(delta), (30, 10), strict=True):
        sizes = np.bincount(labels.ravel())[1:]
        assert labels.dtype == np.int32
        assert np.all(np.diff(sizes) <= 0)
        assert sizes.min() >= smallest


def test_a_spherical_overdensity_is_found_at_its_place_and_size():
    radius = 6.0
    for centre in ((16, 16, 16), (0, 31, 2)):
        inside = separation(centre) <= radius
        cube = np.where(inside, 1.75, 0.0).astype(np.float32)
        ladder = np.arange(3, 13) * SPACING
        labels = baselines.excursion_set_spheres(cube, LATTICE, ladder, min_sites=30)
        assert labels[centre] == 1
        # the largest sphere of the ladder whose mean still exceeds 1.686
        assert np.array_equal(labels == 1, separation(centre) <= radius)
        assert labels.max() == 1


def test_a_smaller_sphere_inside_an_accepted_one_is_dropped_and_one_outside_kept():
    cube = np.where(separation((16, 16, 16)) <= 6, 2.5, -0.5).astype(np.float32)
    cube[separation((16, 16, 19)) <= 2.5] += 20
    cube[separation((3, 3, 3)) <= 4] = 2.5
    labels = baselines.excursion_set_spheres(cube, LATTICE, min_sites=30)
    assert labels[16, 16, 19] == labels[16, 16, 15] == 1
    assert labels[3, 3, 3] == 2


def test_no_site_collapses_below_the_barrier(delta):
    assert not baselines.excursion_set_spheres(np.full_like(delta, 1.6), LATTICE).any()
    assert not baselines.excursion_set_spheres(delta, LATTICE, barrier=100.0).any()


def test_top_hat_is_continuous_where_its_series_takes_over():
    x = np.array([0.0, 0.0999, 0.1001, 4.4934], dtype=np.float32)
    window = baselines.top_hat(x)
    assert window[0] == 1
    assert window[1] == pytest.approx(window[2], abs=1e-5)
    assert window[3] == pytest.approx(0, abs=1e-5)  # tan x = x


def test_the_ladder_starts_at_the_smallest_halo():
    ladder = baselines.radius_ladder(LATTICE, 155)
    assert 4 / 3 * np.pi * (ladder[0] / SPACING) ** 3 == pytest.approx(155)
    assert ladder[-1] <= LATTICE.box_size / 4 < 1.1 * ladder[-1]


def two_hills(saddle: float) -> np.ndarray:
    """Two rounded peaks of height 1 on a ridge of height `saddle`, across the periodic face."""
    x = np.abs(LATTICE.minimum_image((np.arange(N) - 0.0) * SPACING) / SPACING)
    ridge = np.where(x <= 10, saddle + (1 - saddle) * np.minimum(x, 10 - np.minimum(x, 10)) / 5, 0)
    return (ridge[:, None, None] * np.exp(-(separation((0, 5, 5))[:1] ** 2) / 40)).astype(np.float32)


def test_the_watershed_splits_at_saddles_deeper_than_its_persistence():
    cube = two_hills(0.6)
    mask = cube > 0.5
    rms = float(cube.std())
    apart = baselines.watershed_labels(cube, LATTICE, mask, 0.0, 0.3 / rms, min_sites=1)
    joined = baselines.watershed_labels(cube, LATTICE, mask, 0.0, 0.5 / rms, min_sites=1)
    assert (apart.max(), joined.max()) == (2, 1)
    assert apart[5, 5, 5] != apart[-5, 5, 5]
    assert np.array_equal(apart > 0, mask)
    assert np.array_equal(joined > 0, mask)


def test_more_persistence_only_merges(delta):
    mask = baselines.threshold_mask(delta, LATTICE, 0.4)
    fine, coarse = (baselines.watershed_labels(delta, LATTICE, mask, persistence=p, min_sites=0) for p in (0.0, 1.0))
    assert coarse.max() < fine.max()
    assert np.array_equal(fine > 0, mask)
    assert np.array_equal(coarse > 0, mask)


def test_bad_arguments_are_refused(delta):
    with pytest.raises(ScoringError, match=r"fraction 1\.5"):
        baselines.threshold_mask(delta, LATTICE, 1.5)
    with pytest.raises(ScoringError, match="smoothing"):
        baselines.smoothed(delta, LATTICE, -1.0)
    with pytest.raises(ScoringError, match="radii"):
        baselines.excursion_set_spheres(delta, LATTICE, np.array([LATTICE.box_size]))
    with pytest.raises(ScoringError, match="persistence"):
        baselines.watershed_labels(delta, LATTICE, delta > 0, persistence=-1)
    with pytest.raises(LatticeError, match="delta"):
        baselines.threshold_mask(delta[:-1], LATTICE, 0.5)
