"""Zoom regions hold what they hold of the haloes that form from them, and cost what they cost."""

from __future__ import annotations

import numpy as np
import pytest
from containment import Containment, format_containment, padding_entry, zoom_containment
from labelled_boxes import box_labels, predicted

from yt_protohalos.exceptions import ScoringError

N = 24
REGION, HULL, ELLIPSOID = range(3)


@pytest.fixture
def labels() -> np.ndarray:
    """Two boxes, the larger across a face."""
    return box_labels(N, (8, 9, 10), (20, 2, 2)) + 2 * box_labels(N, (7, 6, 8), (5, 14, 14))


def test_regions_hold_more_of_a_halo_the_more_they_are_padded(labels):
    prediction = predicted(labels, site_offset=0.5)
    # the true halo is a shell larger than the prediction: 10 x 11 x 12 about 8 x 9 x 10
    larger = np.where(labels == 2, 2, 0) + box_labels(N, (10, 11, 12), (19, 1, 1))
    found = zoom_containment(prediction, larger, (0.0, 1.0, 2.0, 20.0), largest=1)
    inside, shell = 720, 2 * (72 + 80 + 90)
    assert found.n_sites.tolist() == [1320] and found.iou[0] == pytest.approx(720 / 1320)
    share, volume = found.share[0], found.volume[0]
    np.testing.assert_allclose(share[:2, REGION], [inside / 1320, (inside + shell) / 1320])
    np.testing.assert_allclose(volume[:2, REGION], share[:2, REGION])
    assert 0.99 < share[2, REGION] <= share[2, HULL] == 1
    assert share[0, HULL] == inside / 1320
    assert (np.diff(volume[:3], axis=0) > 0).all() and np.isnan(share[3]).all() and np.isnan(volume[3]).all()
    # a shape around the points holds at least what they hold
    assert (share[:3, HULL] >= share[:3, REGION]).all() and (share[:3, ELLIPSOID] >= share[:3, HULL]).all()


def test_equal_regions_hold_all_at_no_cost_and_the_smaller_halo_is_its_own(labels):
    found = zoom_containment(predicted(labels), labels, (0.0,))
    assert found.share[:, 0, REGION].tolist() == [1, 1] and found.volume[:, 0, REGION].tolist() == [1, 1]
    assert found.n_sites.tolist() == found.size.tolist() == [720, 336] and found.iou.tolist() == [1, 1]
    assert zoom_containment(predicted(labels), labels, (0.0,), every=2).size.tolist() == [720]


def test_an_entry_of_the_table_counts_the_haloes_that_were_held(labels):
    found = zoom_containment(predicted(labels), labels, (0.0, 20.0))
    entry = padding_entry(found, 0.2)
    assert (entry["haloes"], entry["smallest"], entry["paddings"]) == (2, 336, [0.0, 20.0])
    # what is too large for the box holds nothing
    assert entry["held"]["region"] == [[1.0, 0.0]] * len(entry["contain"])


def test_a_wrong_target_counts_and_one_without_a_halo_does_not(labels):
    # the first protohalo is a quarter of its halo; nothing forms from the second
    true = box_labels(N, (8, 9, 20), (20, 2, 2)) + 2 * box_labels(N, (8, 9, 10), (20, 13, 2))
    true = np.where(true == 2, 1, true)
    found = zoom_containment(predicted(labels), true, (0.0,))
    assert found.n_sites.tolist() == [1440 + 720]
    assert found.share[0, 0, REGION] == found.iou[0] == pytest.approx(1 / 3)
    text = format_containment(Containment.pooled([found, found]))
    assert text.startswith("2 protohaloes, 0 with a halo")
    assert text.splitlines()[3].split()[:4] == ["0", "0.3333", "0.333", "0.0%"]


def test_no_protohaloes_no_rows(labels):
    nothing = zoom_containment(predicted(np.zeros_like(labels)), labels, (0.0, 2.0))
    assert nothing.share.shape == (0, 2, 3)
    assert "-" in format_containment(nothing).splitlines()[3]


def test_other_lattices_and_paddings_are_refused(labels):
    with pytest.raises(ScoringError, match="use one lattice"):
        zoom_containment(predicted(labels), np.zeros((4, 4, 4), int))
    one, other = (zoom_containment(predicted(labels), labels, (padding,)) for padding in (0.0, 1.0))
    with pytest.raises(ScoringError, match="one choice of paddings"):
        Containment.pooled([one, other])
    with pytest.raises(ScoringError, match="no regions"):
        Containment.pooled([])
