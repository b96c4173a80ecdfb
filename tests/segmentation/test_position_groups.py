"""Groups of predicted final positions: bridges are cut, small haloes stay whole."""

from __future__ import annotations

import numpy as np

from yt_protohalos.segmentation.position_groups import group_positions

N = 24


def field_of_clumps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Displacement, candidates and true labels of two dense clumps with a bridge, across a face, and a loose one."""
    rng = np.random.default_rng(1)
    where = np.full((N, N, N), -1)
    where[:8, :8, :8], where[8:16, :8, :8], where[16:22, 16:20, 16:20], where[8:10, 8:10, 8:12] = 0, 1, 2, 3
    centres = np.array([[0.1, 4.0, 4.0], [23.0, 4.0, 4.0], [18.0, 18.0, 18.0]])
    final = np.indices((N, N, N), dtype=np.float64)
    for clump, width in enumerate((0.1, 0.1, 0.12)):
        sites = np.nonzero(where == clump)
        scale = width if clump < 2 else 0.25
        final[(slice(None), *sites)] = (centres[clump] + scale * rng.normal(size=(len(sites[0]), 3))).T
    bridge = np.nonzero(where == 3)
    along = np.linspace(-0.9, 0.0, len(bridge[0]))
    final[(slice(None), *bridge)] = np.stack([along, np.full_like(along, 4.0), np.full_like(along, 4.0)])
    displacement = (final - np.indices((N, N, N))).astype(np.float32)
    return displacement, where >= 0, where + 1


def test_a_bridge_joins_two_haloes_for_one_linking_length_and_not_with_cores() -> None:
    displacement, candidates, truth = field_of_clumps()
    joined = group_positions(displacement, candidates, 0.25, 0.249, min_core=10**6, min_sites=50)
    assert joined[0, 0, 0] == joined[8, 0, 0] > 0
    apart = group_positions(displacement, candidates, 0.25, 0.04, min_core=60, min_sites=50)
    first, second = apart[0, 0, 0], apart[8, 0, 0]
    assert first != second and first > 0 and second > 0
    for label, clump in ((first, 1), (second, 2)):
        inside = truth == clump
        assert (apart[inside] == label).mean() > 0.98
    on_bridge = apart[truth == 4]
    assert set(on_bridge) == {first, second}, "the bridge is shared out"


def test_a_halo_with_at_most_one_core_stays_whole() -> None:
    displacement, candidates, truth = field_of_clumps()
    labels = group_positions(displacement, candidates, 0.25, 0.04, min_core=60, min_sites=50)
    loose = labels[truth == 3]
    assert len(np.unique(loose[loose > 0])) == 1 and (loose > 0).mean() > 0.8


def test_sites_that_are_no_candidates_and_small_groups_have_no_label() -> None:
    displacement, candidates, truth = field_of_clumps()
    candidates = candidates & (truth != 1)
    labels = group_positions(displacement, candidates, 0.25, 0.04, min_core=60, min_sites=200)
    assert not labels[truth == 1].any()
    assert not labels[truth == 3].any(), "96 sites are fewer than 200"
    assert labels.max() == 1


def test_candidates_that_are_no_members_link_and_have_no_label() -> None:
    displacement, candidates, truth = field_of_clumps()
    joined = group_positions(displacement, candidates, 0.25, 0.249, min_core=10**6, min_sites=50)
    members = truth != 4
    labels = group_positions(displacement, candidates, 0.25, 0.249, 10**6, min_sites=50, members=members)
    assert labels[0, 0, 0] == labels[8, 0, 0] > 0, "the bridge joins the two clumps"
    assert joined[truth == 4].all() and not labels[truth == 4].any()
    assert np.array_equal(labels > 0, (joined > 0) & members)
    few = truth == 4
    left = group_positions(displacement, candidates, 0.25, 0.249, 10**6, min_sites=50, members=few)
    assert few.sum() < 50 and not left.any(), "members alone count for the smallest size"


def test_labels_move_with_the_box() -> None:
    displacement, candidates, _ = field_of_clumps()
    labels = group_positions(displacement, candidates, 0.25, 0.04, min_core=60, min_sites=50)
    shift = (5, 17, 9)
    moved = group_positions(
        np.roll(displacement, shift, (1, 2, 3)), np.roll(candidates, shift, (0, 1, 2)), 0.25, 0.04, 60, 50
    )
    sizes = np.bincount(labels.ravel())
    assert np.array_equal(np.bincount(moved.ravel()), sizes)
    if len(set(sizes)) == len(sizes):
        assert np.array_equal(moved, np.roll(labels, shift, (0, 1, 2)))
