"""Steps over a whole box hold few bytes per site beside their input, and folders that ranks share end with the last."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from position_standins import MARGIN, position_card
from standins import SPACING, make_card, make_field

from yt_protohalos._utils.locks import hold_folder, lock_path
from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.exceptions import StitchingError
from yt_protohalos.fields import particle_mesh
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.fields.lattice import Lattice
from yt_protohalos.fields.particle_mesh import MeshPlan, final_positions
from yt_protohalos.initial_conditions.generate import generate_initial_conditions
from yt_protohalos.initial_conditions.site_assignment import _sort_together
from yt_protohalos.prediction import position_predictor
from yt_protohalos.prediction.fof_predictor import BYTES_PER_SITE, FriendsOfFriendsPredictor
from yt_protohalos.prediction.pipeline import LabelCubes
from yt_protohalos.prediction.position_predictor import PositionPredictor
from yt_protohalos.prediction.result import Prediction
from yt_protohalos.prediction.store import PredictionCache
from yt_protohalos.segmentation import label_groups
from yt_protohalos.segmentation.friends_of_friends import friends_of_friends
from yt_protohalos.segmentation.labels import label_map
from yt_protohalos.segmentation.merging import join_in_contact
from yt_protohalos.segmentation.overlap import OverlapGraph
from yt_protohalos.yt_interface import shared_field
from yt_protohalos.yt_interface.linear import linear_field
from yt_protohalos.yt_interface.load import load

N = 96


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """Cubes of 8^3 sites, half of all, 1..K."""
    block = np.indices((N, N, N)) // 8
    number = (block[0] * (N // 8) + block[1]) * (N // 8) + block[2]
    return np.where(block.sum(axis=0) % 2 == 0, number // 2 + 1, 0).astype(np.int32)


@pytest.fixture(scope="module")
def prediction(labels) -> Prediction:
    probability = np.linspace(0, 1, N**3, dtype=np.float32).reshape(labels.shape)
    return Prediction(
        probability, labels > 0, labels, Lattice(N, N * SPACING), PAPER_COSMOLOGY, 49.0, 0.0, OverlapGraph.empty(), {},
        make_card(),
    )  # fmt: skip


def peak_bytes_per_site(function: Callable[[], object]) -> float:
    """Largest memory that numpy's arrays take while a function runs, its result among them."""
    function()  # whatever is compiled or remembered at first
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / N**3
    finally:
        tracemalloc.stop()


def test_joining_and_counting_hold_no_index_of_the_box(labels, prediction):
    displacement = np.zeros((3, *labels.shape), dtype=np.float32)
    # a joined and a renumbered cube, and less than a byte of tables
    assert 8 <= peak_bytes_per_site(lambda: join_in_contact(labels, displacement, 0.3)) < 9.5
    assert peak_bytes_per_site(lambda: label_map(labels, labels)) < 0.5

    def count() -> None:
        vars(prediction).pop("sizes", None)
        prediction.sizes  # noqa: B018

    assert peak_bytes_per_site(count) < 0.5
    np.testing.assert_array_equal(prediction.sizes, np.bincount(labels.ravel()))


def test_a_catalogue_holds_its_members_and_the_pieces_alone(prediction, monkeypatch):
    whole = protohalo_catalog(prediction)
    assert len(whole) > 800
    monkeypatch.setattr(label_groups, "_PART", 4000)
    # members 8 bytes for half of the sites
    assert 4 <= peak_bytes_per_site(lambda: protohalo_catalog(prediction)) < 6
    parts = protohalo_catalog(prediction)
    for name in ("members", "member_offset", "lagrangian_center", "extent", "inertia", "confidence", "n_pieces"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), err_msg=name)
    # a part smaller than a protohalo holds that one
    monkeypatch.setattr(label_groups, "_PART", 1)
    np.testing.assert_array_equal(protohalo_catalog(prediction).inertia, whole.inertia)


def test_an_evolution_holds_one_mesh_and_friends_of_friends_what_its_predictor_says():
    field = make_field(N)
    field.phi  # noqa: B018
    plan = MeshPlan(2, 1, 0.1, 2.0, 4.0, 0)
    # displacements and velocities, 24 bytes, and 4 bytes for each of 8 cells
    assert 56 <= peak_bytes_per_site(lambda: final_positions(field, plan)) < 58
    points = np.random.default_rng(1).random((N**3, 3), dtype=np.float32)
    assert 28 <= peak_bytes_per_site(lambda: friends_of_friends(points, 1.0, 0.2 / N)) < 33
    predictor = FriendsOfFriendsPredictor(plan)
    assert BYTES_PER_SITE - 6 < peak_bytes_per_site(lambda: predictor.predict(field, progress=False)) < BYTES_PER_SITE


@pytest.mark.parametrize("place", ["in memory", "in a store"])
def test_final_positions_are_predicted_in_the_memory_that_their_predictor_names(place, tmp_path, monkeypatch):
    monkeypatch.setitem(particle_mesh.PLANS, "fast", MeshPlan(2, 1, 0.1, 2.0, 4.0, 0))
    field, starts = make_field(N), itertools.count()
    field.phi  # noqa: B018
    # long links: the table of cells does not grow with the box as the sites do
    clustering = {"in_group": 0.5, "linking_length": 0.3, "core_length": 0.25, "min_core": 10, "member": 0.5}
    predictor = PositionPredictor(position_card(clustering=clustering), many_candidates, None)

    def predict() -> Prediction:
        store = tmp_path / f"{next(starts)}" if place == "in a store" else None
        return predictor.predict(field, progress=False, on_range="allow", store=store)

    needed = position_predictor.BYTES_PER_SITE[place]
    assert needed - 6 < peak_bytes_per_site(predict) < needed


def many_candidates(batch: np.ndarray) -> np.ndarray:
    """Output of a position network that calls 60 % of the sites candidates and moves none."""
    inside = batch[:, MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN, :1]
    output = np.zeros((*inside.shape[:-1], 5), dtype=np.float32)
    output[..., :2] = np.where(inside < np.quantile(inside, 0.6), 5, -5)
    return output


def test_keys_are_sorted_with_their_sites():
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 2**64, 50_000, dtype=np.uint64)
    keys[:20_000] %= np.uint64(1000)  # many in one bucket
    expected = keys.copy()
    sites = np.arange(len(keys), dtype=np.int32)
    _sort_together(keys, sites)
    np.testing.assert_array_equal(keys, np.sort(expected))
    np.testing.assert_array_equal(keys, expected[sites])
    assert len(np.unique(sites)) == len(sites)
    _sort_together(keys[:0], sites[:0])


def test_more_labels_than_an_int32_counts_are_refused():
    lattice = Lattice(2, 1.0)
    crop = SimpleNamespace(key="a_00000", lattice="a", core_start=(0, 0, 0))
    block = np.zeros((2, 2, 2), dtype=np.int32)
    block[0, 0, 0] = 2**31 - 1
    with pytest.raises(StitchingError, match="int32 counts to 2147483647; predict it in parts"):
        LabelCubes(lattice).add(crop, block)


class User:
    """Whoever holds a folder."""


def test_the_last_user_of_a_folder_removes_it(tmp_path):
    folder = tmp_path / "cache" / "some.field"
    first, second = User(), User()
    hold_folder(folder, first)
    (folder / "delta.npy").write_bytes(b"1")
    hold_folder(folder, second)
    del first
    assert (folder / "delta.npy").exists()
    del second
    assert not folder.exists() and not lock_path(folder).exists()
    # and it can be made again
    third = User()
    hold_folder(folder, third)
    assert folder.is_dir()


def test_the_field_of_a_large_box_is_mapped_also_by_one_process_and_left_by_it(tmp_path, monkeypatch):
    path = tmp_path / "ics.hdf5"
    generate_initial_conditions(16, 16 * SPACING, seed=3, filename=path)
    ds, cache = load(path), PredictionCache(tmp_path / "cache")
    delta = linear_field(ds).delta.copy()
    monkeypatch.setattr(shared_field, "MAPPED_SIDE", 16)
    field = shared_field.shared_field(ds, 0.0, cache)
    assert field.is_mapped and linear_field(ds) is field
    np.testing.assert_array_equal(field.delta, delta)
    assert [entry.suffix for entry in sorted(cache.folder.iterdir())] == [".field", ".lock"]
    later = shared_field.shared_field(ds, 0.3, cache)
    np.testing.assert_array_equal(later.delta, field.at_redshift(0.3).delta)
    assert len(list(cache.folder.glob("*.field"))) == 2
    del later
    assert len(list(cache.folder.glob("*.field"))) == 1
    # where the cache cannot be written, the field stays in memory
    other = load(path)
    (tmp_path / "file").write_text("in the way")
    assert not shared_field.shared_field(other, 0.0, PredictionCache(tmp_path / "file")).is_mapped
