"""Protohaloes that end within each other are one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standins import make_card

from yt_protohalos.exceptions import ClusteringError, ModelError
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.segmentation.merging import OVERDENSITY, final_centers, join_in_contact

N = 24


def slabs(*thickness: int) -> np.ndarray:
    """Labels 1, 2, ... in slabs along x with a gap of two sites between them, int32 (N, N, N)."""
    labels, start = np.zeros((N, N, N), dtype=np.int32), 0
    for label, width in enumerate(thickness, start=1):
        labels[start : start + width, :8, :8] = label
        start += width + 2
    return labels


def towards(labels: np.ndarray, places: dict[int, tuple[float, float, float]]) -> np.ndarray:
    """Displacement that takes every site of a label to one place, float32 (3, N, N, N)."""
    moved = np.zeros((3, N, N, N), dtype=np.float32)
    for label, place in places.items():
        sites = np.nonzero(labels == label)
        for axis in range(3):
            apart = place[axis] - sites[axis]
            moved[axis][sites] = apart - N * np.floor(apart / N + 0.5)
    return moved


def radius(sites: int) -> float:
    return float(np.cbrt(3 * sites / (4 * np.pi * OVERDENSITY)))


@pytest.mark.parametrize("place", [(3.0, 5.0, 7.0), (23.9, 0.1, 12.0)])
def test_centres_are_where_the_members_end(place: tuple[float, float, float]) -> None:
    labels = slabs(3, 4)
    center, size = final_centers(labels, towards(labels, {1: place, 2: (1.0, 1.0, 1.0)}), 3)
    assert size.tolist() == [0, 192, 256]
    apart = Lattice(N, N).minimum_image(center[1] - np.array(place))
    assert np.abs(apart).max() < 1e-4


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_two_are_one_if_they_end_within_their_radii(factor: float) -> None:
    labels = slabs(3, 4)
    limit = 0.6 * (radius(192) + radius(256))
    # across a face of the box
    moved = towards(labels, {1: (23.95, 5.0, 5.0), 2: (23.95 + factor * limit, 5.0, 5.0)})
    joined = join_in_contact(labels, moved, 0.6)
    assert joined.max() == (1 if factor < 1 else 2)
    assert np.array_equal(joined > 0, labels > 0)
    if factor > 1:
        assert np.array_equal(joined == 1, labels == 2), "numbers go by size"


def test_a_chain_is_one_and_the_rest_stays() -> None:
    labels = slabs(2, 3, 4, 2)
    step = 0.55 * 2 * radius(128)
    moved = towards(labels, {1: (2, 2, 2), 2: (2 + step, 2, 2), 3: (2 + 2 * step, 2, 2), 4: (15, 15, 15)})
    joined = join_in_contact(labels, moved, 0.6)
    assert np.array_equal(joined == 1, (labels > 0) & (labels < 4)) and np.array_equal(joined == 2, labels == 4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*(st.integers(0, N - 1),) * 3))
def test_a_periodic_shift_changes_nothing(seed: int, shift: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    labels = slabs(2, 2, 3, 2)
    moved = towards(labels, {label: tuple(rng.uniform(0, 3, 3)) for label in range(1, 5)})
    whole = join_in_contact(labels, moved, 0.7)
    shifted = np.stack([np.roll(component, shift, axis=(0, 1, 2)) for component in moved])
    found = join_in_contact(np.roll(labels, shift, axis=(0, 1, 2)), shifted, 0.7)
    back = np.roll(found, tuple(-s for s in shift), axis=(0, 1, 2))
    # equal sizes may exchange their numbers
    pairs = np.unique(np.stack([whole[whole > 0], back[whole > 0]]), axis=1)
    assert pairs.shape[1] == whole.max() == found.max()
    assert np.array_equal(back > 0, whole > 0)


def test_nothing_is_joined_at_zero_contact_or_where_there_is_one_alone() -> None:
    labels = slabs(3, 4)
    moved = towards(labels, {1: (1, 1, 1), 2: (1, 1, 1)})
    assert join_in_contact(labels, moved, 0.0).max() == 2
    assert join_in_contact(np.where(labels == 1, 1, 0).astype(np.int32), moved, 0.6).max() == 1
    assert join_in_contact(np.zeros_like(labels), moved, 0.6).max() == 0


def test_bad_values_are_refused() -> None:
    labels = slabs(3, 4)
    moved = towards(labels, {})
    for contact in (-0.1, np.nan, True, "far"):
        with pytest.raises(ClusteringError, match="contact"):
            join_in_contact(labels, moved, contact)  # type: ignore[arg-type]
    with pytest.raises(ClusteringError, match="do not fit"):
        join_in_contact(labels, moved[:, :-1], 0.6)
    with pytest.raises(ModelError, match="needs the evolved field"):
        make_card(clustering={"n_dens": 20, "n_ngb": 15, "persistence": 4.2, "contact": 0.6})
