"""Laws of spherical-overdensity masses: the sphere of a known profile, the committed fit, and where none is known."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from position_standins import Groups, position_card
from standins import make_field

import yt_protohalos as ph
from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.catalog.spherical_masses import (
    DEFINITIONS,
    NODES,
    WITH_RADIUS,
    WITHOUT_RADIUS,
    Relation,
    known_definitions,
    spherical_masses,
    uses_radius,
)
from yt_protohalos.models.fof_card import FriendsOfFriendsCard
from yt_protohalos.prediction.evolved_radius import radii_200m
from yt_protohalos.prediction.position_predictor import PositionPredictor

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "spherical_masses.json"
N = 32


def isothermal(per_radius: float, count: int, seed: int) -> np.ndarray:
    """Points of which ``per_radius * r`` lie within r of the origin: density falls as r^-2."""
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    return directions * (np.arange(1, count + 1) / per_radius)[:, None]


def test_the_radius_is_that_of_a_known_profile_wherever_it_stands():
    """200 times the mean density is A R / (4/3 pi R^3), so R = sqrt(3 A / (800 pi)), whatever else is in the group."""
    dense, thin = isothermal(1500.0, 4000, 1), isothermal(400.0, 2000, 2)
    neighbour = isothermal(300.0, 500, 3) + np.array([6, 0, 0])
    groups = [np.concatenate([dense, neighbour]) + np.array([40, -3, 7]), thin]
    order = [np.random.default_rng(4).permutation(len(group)) for group in groups]
    points = np.concatenate([group[each] for group, each in zip(groups, order, strict=True)])
    found = radii_200m(points, np.array([len(group) for group in groups]))
    np.testing.assert_allclose(found, np.sqrt(3 * np.array([1500, 400]) / (800 * np.pi)), rtol=0.03)


def test_a_group_that_is_nowhere_thin_has_the_radius_of_all_its_points():
    points = np.random.default_rng(1).normal(scale=0.01, size=(300, 3))
    assert radii_200m(points, np.array([300]))[0] == pytest.approx(np.cbrt(3 * 300 / (800 * np.pi)))


def test_the_constants_are_those_of_the_committed_fit():
    results = json.loads(RESULTS.read_text())
    assert tuple(results["nodes"]) == NODES
    for name, relations in (("without_radius", WITHOUT_RADIUS), ("with_radius", WITH_RADIUS)):
        assert {key: json.loads(json.dumps(asdict(one))) for key, one in relations.items()} == results["relations"][
            name
        ]


def test_the_relation_at_a_node_is_its_constants_and_between_nodes_their_mean():
    relation = Relation((0.1, 0.3, 0, 0, 0), (0.5, 0.7, 0, 0, 0), (0.02, 0.04, 0, 0, 0))
    sizes = np.array([100.0, NODES[0], np.sqrt(NODES[0] * NODES[1]), NODES[1]])
    mass = np.full(4, 1e12)
    found = spherical_masses(mass, sizes, 1e13 * np.ones(4), ("vir",), {"vir": relation})
    np.testing.assert_allclose(np.log10(found.mass[:, 1]), 12 + np.array([0.6, 0.6, 0.8, 1.0]))
    np.testing.assert_allclose(found.error[:, 1] / found.mass[:, 1], np.log(10) * np.array([0.02, 0.02, 0.03, 0.04]))
    assert np.isnan(found.mass[:, [0, 2]]).all() and np.isnan(found.error[:, [0, 2]]).all()


@pytest.mark.parametrize("sphere", [None, 0.8])
def test_denser_spheres_hold_less_mass_and_small_haloes_are_less_certain(sphere):
    sizes = np.geomspace(155, 1e5, 30)
    found = spherical_masses(sizes, sizes, None if sphere is None else sphere * sizes)
    assert np.all(np.diff(found.mass, axis=1) < 0) and np.all(found.mass > 0.4 * sizes[:, None])
    error = found.error / found.mass
    assert np.all(error[0] > error[-1]) and np.all(np.diff(error, axis=1) > 0)


def test_a_known_radius_makes_the_masses_more_certain():
    for name in DEFINITIONS:
        assert np.all(np.less(WITH_RADIUS[name].scatter, WITHOUT_RADIUS[name].scatter))


def test_relations_are_used_only_where_they_were_fitted():
    card = position_card()
    assert known_definitions(card, 0.0) == DEFINITIONS and known_definitions(card, 0.5) == ("200m",)
    other = replace(card, halo_definition=card.halo_definition | {"finder": "Rockstar"})
    assert known_definitions(other, 0.0) == known_definitions(FriendsOfFriendsCard(), 0.0) == ()
    assert uses_radius(card) == (card.evolution == "accurate") and not uses_radius(FriendsOfFriendsCard())


def test_a_catalogue_holds_the_masses_of_its_prediction_and_of_its_file(tmp_path):
    """Without the radius, in files from before it was kept, they come from the masses alone."""
    card, field = position_card(), make_field(N)
    prediction = PositionPredictor(card, Groups(), None).predict(field, progress=False, on_range="allow")
    # the relations are of the accurate evolution, which takes longer
    prediction = replace(prediction, card=replace(card, evolution="accurate"))
    catalog = protohalo_catalog(prediction, field)
    assert len(catalog) > 5 and np.all(catalog.spherical_mass > 0)
    prediction.save(tmp_path / "prediction.h5")
    again = protohalo_catalog(ph.Prediction.load(tmp_path / "prediction.h5"))
    np.testing.assert_array_equal(again.spherical_mass, catalog.spherical_mass)
    with h5py.File(tmp_path / "prediction.h5", "r+") as file:
        del file["motion/radius"]
    older = protohalo_catalog(ph.Prediction.load(tmp_path / "prediction.h5"))
    expected = spherical_masses(catalog.mass, catalog.n_sites, None)
    np.testing.assert_array_equal(older.spherical_mass, expected.mass)
    assert np.all(
        older.spherical_mass_error / older.spherical_mass > catalog.spherical_mass_error / catalog.spherical_mass
    )
