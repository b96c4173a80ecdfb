"""Laws of friends of friends in final positions: any field, no model, a mask in place of a probability."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from standins import make_field, make_predictor, same_partition

import yt_protohalos as ph
from yt_protohalos.analysis.baselines import SIMPLE_METHODS
from yt_protohalos.catalog.catalog import EVOLVED
from yt_protohalos.exceptions import ClusteringError, ExperimentError, ModelError, OutOfMemoryError, StoreError
from yt_protohalos.fields.linear_field import LinearField
from yt_protohalos.fields.particle_mesh import ACCURATE, FAST, MeshPlan, final_positions
from yt_protohalos.models.card import ModelCard
from yt_protohalos.models.channels import ModelInput
from yt_protohalos.models.fof_card import FriendsOfFriendsCard, card_from_json
from yt_protohalos.prediction import memory
from yt_protohalos.segmentation.friends_of_friends import friends_of_friends
from yt_protohalos.segmentation.labels import relabel_by_size

N, SMALLEST = 32, 20


@pytest.fixture(scope="module")
def field():
    return make_field(N)


@pytest.fixture(scope="module")
def predictor():
    return ph.FriendsOfFriendsPredictor(min_sites=SMALLEST)


@pytest.fixture(scope="module")
def prediction(field, predictor):
    return predictor.predict(field, progress=False)


def test_labels_are_the_groups_of_the_final_positions(field, prediction):
    displacement, velocity = final_positions(field, FAST)
    points = np.stack([x + d for x, d in zip(np.indices(field.lattice.shape), displacement, strict=True)], axis=-1)
    groups = friends_of_friends(points.reshape(-1, 3).astype(np.float32), N, 0.25).reshape(field.lattice.shape)
    assert prediction.n_protohalos > 5
    assert np.array_equal(prediction.labels, relabel_by_size(groups + 1, SMALLEST))
    assert np.array_equal(prediction.evolved.displacement, displacement)
    assert np.array_equal(prediction.evolved.velocity, velocity)


def test_the_probability_is_the_mask_of_the_groups(prediction):
    inside = prediction.labels > 0
    assert np.array_equal(prediction.mask, inside)
    assert prediction.probability.dtype == np.float32
    assert np.array_equal(prediction.probability, inside)
    assert prediction.sizes[1:].min() >= SMALLEST and (np.diff(prediction.sizes[1:]) <= 0).all()


def test_groups_follow_a_shift_by_whole_sites(field, predictor, prediction):
    shift = (5, 0, 17)
    delta = field.lattice.shifted(field.delta, shift)
    moved = LinearField.from_density(delta, field.box_size, field.cosmology, field.redshift)
    labels = predictor.predict(moved, progress=False).labels
    expected = field.lattice.shifted(prediction.labels, shift)
    # rounding moves the sites of a collapsed halo, and few of them across its border
    assert np.mean((labels > 0) == (expected > 0)) > 0.98
    largest = [np.bincount(labels[expected == k])[1:].max() for k in (1, 2, 3)]
    assert np.all(largest > 0.9 * prediction.sizes[1:4])


def test_a_region_is_cut_from_the_box(field, predictor, prediction):
    region = ph.Region((0.4, 3.0, 6.0), side=16 * field.spacing)
    part = predictor.predict_region(field, region, progress=False)
    assert part.labels.shape == (16,) * 3
    cut = field.lattice.crop(prediction.labels, part.start, part.labels.shape)
    assert same_partition(part.labels, cut)
    assert np.array_equal(part.mask, cut > 0) and np.array_equal(part.probability, cut > 0)
    assert (np.diff(part.sizes[1:]) <= 0).all()
    assert part.touches_border.any() and part.touches_border.shape == (part.n_protohalos,)
    whole = part.labels * ~np.append(True, part.touches_border)[part.labels]
    for label in np.unique(whole[whole > 0]):
        assert np.unique(cut[whole == label]).size == 1
    everything = predictor.predict_region(field, ph.Region((0, 0, 0), side=field.box_size), progress=False)
    assert not everything.touches_border.any()
    assert everything.n_protohalos == prediction.n_protohalos


def test_what_was_saved_comes_back_with_its_card(prediction, tmp_path):
    prediction.save(tmp_path / "fof.h5")
    again = ph.Prediction.load(tmp_path / "fof.h5")
    assert again.card == prediction.card and again.card.sha256 == prediction.card.sha256
    for name in ("labels", "mask", "probability"):
        assert np.array_equal(getattr(again, name), getattr(prediction, name))
    assert again.settings == prediction.settings and again.evolved is None
    assert "fof" in repr(again)


def test_the_catalogue_has_the_final_positions(field, prediction):
    made = ph.protohalo_catalog(prediction, field)
    later = ph.protohalo_catalog(replace(prediction, evolved=None, motion=None), field)
    assert made.position_method == later.position_method == EVOLVED
    assert np.array_equal(made.position, later.position) and np.array_equal(made.velocity, later.velocity)
    evolved = prediction.evolved.displacement[:, prediction.labels == 1].mean(axis=1) * field.spacing
    apart = field.lattice.minimum_image(made.position[0] - made.lagrangian_center[0] - evolved)
    assert np.abs(apart).max() < 1e-4
    assert (made.confidence == 1).all()
    by_theory = ph.protohalo_catalog(prediction, field, lpt_order=2)
    assert by_theory.position_method != EVOLVED


@pytest.mark.parametrize("spacing", [0.1, 0.5, 2.0])
def test_any_spacing_cosmology_and_redshift_will_do(spacing):
    cosmology = ph.Cosmology(h=0.5, omega_m=1.0, omega_lambda=0.0, sigma_8=1.3)
    box = ph.generate_initial_conditions(24, 24 * spacing, seed=2, cosmology=cosmology).at_redshift(1.0)
    found = ph.FriendsOfFriendsPredictor(min_sites=8).predict(box, progress=False)
    assert found.lattice == box.lattice and found.target_redshift == 1.0 and found.cosmology == cosmology
    assert found.n_protohalos > 0
    assert found.site_mass_msun == pytest.approx(box.site_mass_msun_h / 0.5)


def test_a_sharper_evolution_and_other_values_give_other_groups_and_cards(field, predictor, prediction):
    others = [
        ph.FriendsOfFriendsPredictor("accurate", min_sites=SMALLEST),
        ph.FriendsOfFriendsPredictor(linking_length=0.2, min_sites=SMALLEST),
        ph.FriendsOfFriendsPredictor(min_sites=2 * SMALLEST),
    ]
    for first, second in combinations([predictor, *others], 2):
        assert first != second and first.card.sha256 != second.card.sha256
    assert ph.FriendsOfFriendsPredictor(FAST, min_sites=SMALLEST) == predictor
    assert hash(ph.FriendsOfFriendsPredictor(FAST, min_sites=SMALLEST)) == hash(predictor)
    assert others[0].card.plan == ACCURATE and "accurate" in repr(others[0])
    accurate = others[0].predict(field, progress=False)
    assert not np.array_equal(accurate.labels, prediction.labels)
    # most sites that one puts in a halo the other does too
    assert np.mean((accurate.labels > 0) == (prediction.labels > 0)) > 0.85


def test_the_simple_method_of_score_tables_is_the_same(field, prediction):
    labels, mask = SIMPLE_METHODS["fof"](field, 0.4, SMALLEST)
    assert mask is None and np.array_equal(labels, prediction.labels)


def test_progress_is_shown_by_the_caller(field, predictor):
    titles = []

    def bar(items, title, total):
        titles.append((title, total))
        return items

    predictor.predict(field, progress=bar)
    assert titles == [("Evolving the linear field", FAST.steps)]


def test_an_interrupted_run_leaves_no_file(field, predictor, tmp_path):
    def interrupt(items, title, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predictor.predict(field, progress=interrupt, store=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_card_says_what_it_was_made_with_and_refuses_what_cannot_be():
    plan = MeshPlan(cells_per_site=2, steps=7, start=0.2, shortening=1.0, cut=3.0, sharpening=0)
    card = FriendsOfFriendsCard(plan, 0.2, 30)
    assert card_from_json(card.to_json()) == card and card.evolution.startswith("cells_per_site 2, steps 7")
    assert dict(card.facts())["linking length"] == "0.2 sites"
    assert all(len(line) <= 120 for line in repr(FriendsOfFriendsCard()).splitlines())
    assert "<table>" in card._repr_html_()
    model = make_predictor().card
    assert isinstance(card_from_json(model.to_json()), ModelCard)
    values = json.loads(card.to_json())
    broken = [
        ("format", 99, "format 99 is unknown"), ("linking_length", -1, "linking_length -1"), ("min_sites", 1.5, "1.5"),
        ("plan", {"steps": 3}, "lacks"), ("plan", {**values["plan"], "start": 2.0}, "no time"),
        ("plan", {**values["plan"], "steps": "many"}, "steps 'many'"), ("more", 1, "unknown keys more"),
    ]  # fmt: skip
    for name, value, message in broken:
        with pytest.raises(ModelError, match=message):
            card_from_json(json.dumps({**values, name: value}))
    for text in ("not JSON", "[1]", "{}"):
        with pytest.raises(ModelError):
            card_from_json(text)


def test_what_cannot_be_is_refused_before_the_evolution(field, predictor, monkeypatch):
    monkeypatch.setattr(FriendsOfFriendsCard, "evolve", lambda *_: pytest.fail("it was evolved"))
    with pytest.raises(ModelError, match=r"threshold 0\.3 .*leave it out"):
        predictor.predict(field, threshold=0.3)
    with pytest.raises(ModelError, match="on_range"):
        predictor.predict(field, on_range="maybe")
    with pytest.raises(ModelError, match="evolution 'slow' is unknown; use one of fast, accurate"):
        ph.FriendsOfFriendsPredictor("slow")
    for values in ({"linking_length": 0.0}, {"min_sites": 0}, {"min_sites": 1.5}):
        with pytest.raises(ModelError, match=next(iter(values))):
            ph.FriendsOfFriendsPredictor(**values)
    with pytest.raises(ClusteringError, match="linking length 12 is more than a third of the 32 sites"):
        ph.FriendsOfFriendsPredictor(linking_length=12).predict(field)
    with pytest.raises(ExperimentError):
        predictor.predict(ph.add_overdensity(field, 0.3))
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    with pytest.raises(OutOfMemoryError, match=r"32\^3 sites needs 0\.00214 GiB .* or method 'pseudo-space'"):
        predictor.predict(field)


def test_a_lack_of_memory_on_the_way_is_an_error_of_the_package(field, predictor, monkeypatch):
    def greedy(self, field, progress=False):
        raise MemoryError

    monkeypatch.setattr(FriendsOfFriendsCard, "evolve", greedy)
    with pytest.raises(OutOfMemoryError, match="bytes per site"):
        predictor.predict(field, progress=False)


def test_final_positions_of_a_perturbation_that_is_not_periodic_are_refused(field):
    with pytest.raises(ExperimentError):
        final_positions(ph.add_overdensity(field, 0.3), FAST)
    inside = ph.add_overdensity(field, 0.3, within=ph.Region((3, 3, 3), side=2.0))
    assert final_positions(inside, FAST)[0].shape == (3, N, N, N)


def test_networks_that_read_densities_refuse_positions_alone(field, prediction):
    with pytest.raises(ModelError, match="lacks the channels density_100_0"):
        ModelInput(field, prediction.evolved).crop(("density_100_0",), (0, 0, 0), 8)


def test_several_ranks_need_a_folder_and_read_the_result_of_the_first(field, predictor, prediction, tmp_path):
    class Ranks:
        size, is_root = 2, True

        def __init__(self, is_root: bool) -> None:
            self.is_root = is_root

        def barrier(self):
            from contextlib import nullcontext

            return nullcontext()

    with pytest.raises(StoreError, match="2 ranks"):
        predictor.predict(field, progress=False, communicator=Ranks(True))
    root = predictor.predict(field, progress=False, store=tmp_path / "new", communicator=Ranks(True))
    other = predictor.predict(field, progress=False, store=tmp_path / "new", communicator=Ranks(False))
    assert np.array_equal(root.labels, prediction.labels) and np.array_equal(other.labels, prediction.labels)
    assert root.evolved is not None and other.evolved is None


@pytest.mark.slow
def test_no_network_library_is_imported(tmp_path):
    """The whole way, from a file to a catalogue, in a fresh process."""
    script = """
import sys
import yt_protohalos as ph
ph.generate_initial_conditions(32, 12.5, seed=3, filename="ics.hdf5")
ds = ph.load("ics.hdf5")
ph.add_protohalo_fields(ds, method="fof", cache=False)
assert ds.all_data()["all", "particle_protohalo_id"].max() >= 0
catalog = ph.find_protohalos(ds, "catalog", progress=False)
assert catalog.parameters["model"] == "fof"
print(*({"keras", "tensorflow", "jax", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
