"""Boxes at the edge of what can be: one halo, none, a few sites, another spacing, another cosmology."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yt
from initial_files import realisation, write_gadget2
from standins import SPACING, StandIns, make_card, make_field, make_predictor

import yt_protohalos as ph
from yt_protohalos.catalog.catalog import protohalo_catalog
from yt_protohalos.exceptions import CatalogError, CosmologyWarning, OutOfRangeError, SpacingWarning
from yt_protohalos.fields.cosmology import PAPER_COSMOLOGY
from yt_protohalos.prediction.predictor import ProtohaloPredictor

yt.set_log_level(50)


def uniform_predictor(probability: float, spread: float = 0.0) -> ProtohaloPredictor:
    """Networks that say one probability everywhere and put all sites around one point of pseudo-space."""
    card = make_card()
    out = card.semantic.output_side
    noise = np.random.default_rng(0).normal(0, 1, (1, out, out, out, 3)).astype(np.float32)
    return ProtohaloPredictor(
        card,
        lambda batch: np.full((1, out, out, out, 1), probability, dtype=np.float32),
        lambda batch: spread * noise,
    )


@pytest.mark.parametrize(("n", "spread"), [(1, 0.0), (2, 0.3), (3, 0.0), (12, 0.0), (13, 0.3)])
def test_a_box_that_is_one_halo_is_one_protohalo_with_all_the_mass(n, spread):
    field = make_field(max(n, 3))
    if n < 3:  # too small for modes: any field will do
        field = replace(
            field, delta=field.delta[:n, :n, :n], phi=field.phi[:n, :n, :n], lattice=ph.Lattice(n, n * SPACING)
        )
    predictor = uniform_predictor(0.99, spread)
    predictor.card = replace(predictor.card, min_sites=1, clustering={**predictor.card.clustering, "persistence": 1e6})
    prediction = predictor.predict(field, progress=False, on_range="allow")
    assert (prediction.labels == 1).all()
    catalog = protohalo_catalog(prediction)
    assert catalog.n_sites.tolist() == [n**3]
    total = field.cosmology.mean_density * field.box_size**3 / field.cosmology.h
    assert catalog.mass[0] == pytest.approx(total)
    assert np.isfinite(catalog.lagrangian_center).all() and (catalog.lagrangian_center < field.box_size).all()
    np.testing.assert_allclose(catalog.extent[0], field.box_size)
    assert catalog.n_pieces.tolist() == [1]


@pytest.fixture(scope="module")
def ics(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    ph.generate_initial_conditions(16, 16 * SPACING, seed=3, filename=path)
    return path


def test_a_box_that_is_one_halo_has_a_catalogue_that_yt_reads(ics, tmp_path):
    catalog = ph.find_protohalos(
        ph.load(ics), tmp_path, predictor=uniform_predictor(0.99), cache=False, progress=False, on_range="allow"
    )
    haloes = catalog.all_data()
    assert haloes["halos", "particle_mass"].size == 1
    assert np.isfinite(haloes["halos", "particle_position_x"]).all()
    assert len(catalog.halo("halos", 0)["member_ids"]) == 16**3


def test_a_box_without_any_member_has_an_answer_and_no_catalogue(ics, tmp_path):
    ds = ph.load(ics)
    prediction = ph.predict(ds, predictor=uniform_predictor(0.01), cache=False, progress=False, on_range="allow")
    assert prediction.n_protohalos == 0 and not prediction.mask.any()
    ph.add_protohalo_fields(ds)
    assert (ds.all_data()["all", "particle_protohalo_id"] == -1).all()
    with pytest.raises(CatalogError, match="use a larger box, a lower threshold"):
        ph.find_protohalos(ds, tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n", [3, 15, 17])
def test_boxes_of_any_side_repeat_in_a_crop_and_keep_their_mass(tmp_path, n):
    field = ph.linear_field(ph.load(write_gadget2(tmp_path / "ics.dat", realisation(n))))
    prediction = make_predictor().predict(field, progress=False, on_range="allow")
    assert prediction.labels.shape == (n, n, n)
    catalog = protohalo_catalog(prediction, field)
    assert catalog.n_sites.sum() == np.count_nonzero(prediction.labels)


@pytest.mark.slow
def test_other_spacings_and_cosmologies_are_named_with_their_range(tmp_path):
    particles = realisation(16)
    far = replace(PAPER_COSMOLOGY, omega_m=0.2, omega_lambda=0.8)
    ds = ph.load(write_gadget2(tmp_path / "far.dat", realisation(16, cosmology=far)))
    with pytest.warns(CosmologyWarning, match=r"omega_m = 0\.2 is outside 0\.257112-0\.357112, around the 0\.307112"):
        ph.predict(ds, predictor=make_predictor(), cache=False, progress=False, on_range="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error", SpacingWarning)
        near = ph.load(write_gadget2(tmp_path / "near.dat", particles))
        ph.predict(near, predictor=make_predictor(), cache=False, progress=False, on_range="allow")
    for factor, error in ((0.9, None), (0.3, OutOfRangeError)):
        card = make_card(spacing=SPACING * factor)
        predictor = ProtohaloPredictor(card, StandIns().semantic, StandIns().instance)
        options = {"predictor": predictor, "cache": False, "progress": False, "on_range": "allow"}
        if error is None:
            with pytest.warns(SpacingWarning, match=r"spacing 0\.19531 Mpc/h, but model 'tiny' has 0\.17578"):
                ph.predict(near, **options)
        else:
            with pytest.raises(error, match=r"0\.058594 Mpc/h, more than a factor 2; use a model of that spacing"):
                ph.predict(near, **options)
