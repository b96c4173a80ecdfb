"""Laws of comparisons: exact on constructed objects, and exchanged when the predictions are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from standins import make_field, same_partition
from yt_fakes import FakePredictor

from yt_protohalos.analysis.matching import compare, compare_labels
from yt_protohalos.exceptions import ScoringError
from yt_protohalos.fields.lattice import Lattice

QUICK = settings(max_examples=150, deadline=None, derandomize=True)


def numbered(labels):
    """Labels 1..K without gaps, 0 kept."""
    found = np.unique(labels[labels > 0])
    return np.where(labels > 0, 1 + np.searchsorted(found, labels), 0)


cubes = arrays.arrays(np.int64, st.just((4, 4, 3)), elements=st.integers(0, 5)).map(numbered)


def line(*runs):
    """Labels along a line of sites, (label, count) each."""
    return np.concatenate([np.full(count, label) for label, count in runs])


def test_constructed_objects_have_the_relations_they_were_given():
    a = line((1, 40), (0, 5), (2, 10), (3, 12), (0, 20), (4, 8), (5, 6), (0, 9))
    #         grows              merges with 3      new         splits      vanishes
    b = line((1, 42), (0, 3), (2, 22), (0, 12), (3, 8), (4, 4), (5, 4), (0, 15))
    found = compare_labels(a, b, site_mass_msun=2.0)
    assert found.matched.tolist() == [[1, 1], [3, 2]]
    np.testing.assert_allclose(found.iou, [40 / 42, 12 / 22])
    np.testing.assert_allclose(found.log10_mass_ratio, np.log10([42 / 40, 22 / 12]))
    assert found.heir.tolist() == [1, 2, 2, 0, 0]
    assert found.origin.tolist() == [1, 3, 0, 4, 4]
    assert found.merged.tolist() == [2] and found.parts_of_merged(2).tolist() == [2, 3]
    assert found.split.tolist() == [4] and found.parts_of_split(4).tolist() == [4, 5]
    assert found.vanished.tolist() == [5]
    assert found.new.tolist() == [3]


def test_the_table_says_what_became_of_each_object():
    a = line((1, 40), (0, 5), (2, 10), (3, 12), (0, 20), (4, 8), (5, 6), (0, 9))
    b = line((1, 42), (0, 3), (2, 22), (0, 12), (3, 8), (4, 4), (5, 4), (0, 15))
    lines = compare_labels(a, b, site_mass_msun=2.0).table().splitlines()
    became = {int(row.split()[0]): row.split("  ")[-1] for row in lines[-5:]}
    assert became == {
        1: "matched", 3: "matched, merged with 1 more", 2: "merged with 1 more", 4: "split into 2", 5: "vanished",
    }  # fmt: skip
    assert "+0.021" in next(row for row in lines if row.split()[:1] == ["1"])
    assert len(compare_labels(a, b).table(largest=0).splitlines()) == 8


def test_objects_that_were_swallowed_or_scattered_are_said_to_be():
    a = line((1, 2), (0, 8), (2, 3), (0, 5), (2, 3), (0, 5))
    b = line((1, 10), (2, 8), (3, 8))
    rows = compare_labels(a, b).table().splitlines()[-2:]
    assert [row.split("  ")[-1] for row in rows] == ["scattered", "part of a larger object"]


def test_half_of_an_object_is_no_majority_and_half_an_iou_no_match():
    a, b = line((1, 8)), line((1, 4), (2, 4))
    found = compare_labels(a, b)
    assert len(found.matched) == 0 and found.heir.tolist() == [0]
    assert found.split.tolist() == [1] and len(found.vanished) == 0


@QUICK
@given(cubes)
def test_a_prediction_matches_itself(labels):
    found = compare_labels(labels, labels)
    everyone = np.arange(1, labels.max(initial=0) + 1)
    np.testing.assert_array_equal(found.matched, np.stack([everyone, everyone], axis=-1))
    np.testing.assert_array_equal(found.iou, 1.0)
    np.testing.assert_array_equal(found.log10_mass_ratio, 0.0)
    assert not any(map(len, (found.merged, found.split, found.vanished, found.new)))


@QUICK
@given(cubes, cubes)
def test_exchanging_the_predictions_exchanges_the_relations(a, b):
    there, back = compare_labels(a, b), compare_labels(b, a)
    order = np.argsort(there.matched[:, 1], kind="stable")
    np.testing.assert_array_equal(there.matched[order][:, ::-1], back.matched)
    np.testing.assert_array_equal(there.iou[order], back.iou)
    np.testing.assert_allclose(there.log10_mass_ratio[order], -back.log10_mass_ratio, atol=1e-12)
    for name, other in (
        ("merged", "split"), ("split", "merged"), ("vanished", "new"), ("new", "vanished"), ("heir", "origin"),
        ("origin", "heir"), ("size_a", "size_b"),
    ):  # fmt: skip
        np.testing.assert_array_equal(getattr(there, name), getattr(back, other))


@QUICK
@given(cubes, cubes, st.integers(0, 2**32 - 1))
def test_relations_follow_the_objects_not_their_numbers(a, b, seed):
    rng = np.random.default_rng(seed)
    new_a, new_b = (np.concatenate([[0], 1 + rng.permutation(labels.max(initial=0))]) for labels in (a, b))
    plain, renamed = compare_labels(a, b), compare_labels(new_a[a], new_b[b])
    pairs = np.stack([new_a[plain.matched[:, 0]], new_b[plain.matched[:, 1]]], axis=-1)
    assert sorted(map(tuple, pairs.tolist())) == sorted(map(tuple, renamed.matched.tolist()))
    for name, table in (("merged", new_b), ("split", new_a), ("vanished", new_a), ("new", new_b)):
        np.testing.assert_array_equal(np.sort(table[getattr(plain, name)]), getattr(renamed, name))


@QUICK
@given(cubes, cubes)
def test_matches_are_one_to_one_and_never_vanish(a, b):
    found = compare_labels(a, b)
    for side, gone in ((0, found.vanished), (1, found.new)):
        labels = found.matched[:, side]
        assert len(np.unique(labels)) == len(labels)
        assert not np.isin(labels, gone).any()
    assert (found.heir[found.vanished - 1] == 0).all()
    json.dumps(found.summary())
    assert len(found.table().splitlines()) >= 8


def test_predictions_are_compared_by_lattice_and_in_solar_masses():
    field = make_field(24)
    low, high = FakePredictor(level=1.0).predict(field), FakePredictor(level=0.6).predict(field)
    found = compare(low, high)
    assert same_partition(low.labels, low.labels) and len(found.matched) > 3
    assert found.site_mass_msun == low.site_mass_msun
    # a lower level only adds sites
    assert (found.log10_mass_ratio >= 0).all() and len(found.vanished) == 0
    with pytest.raises(ScoringError, match="one lattice"):
        compare(low, replace(high, lattice=Lattice(24, 7.0)))
    # another format states the side of the same box with another last digit
    rounded = Lattice(24, float(np.nextafter(high.lattice.box_size, np.inf)))
    assert rounded != low.lattice
    assert len(compare(low, replace(high, lattice=rounded)).matched) == len(found.matched)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.ones(3, int), np.ones(4, int), "differ"),
        (np.array([-1, 0]), np.array([1, 0]), "negative"),
        (np.array([1, 3]), np.array([1, 2]), "lack 2"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused(a, b, words):
    with pytest.raises(ScoringError, match=words):
        compare_labels(a, b)


def test_objects_that_do_not_exist_are_refused():
    found = compare_labels(line((1, 3)), line((1, 3)))
    for ask in (found.parts_of_merged, found.parts_of_split):
        with pytest.raises(ScoringError, match="no object 2"):
            ask(2)
