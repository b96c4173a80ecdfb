"""What is kept for a dataset lives as long as the dataset, and units of what users give are understood."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import yt
from initial_files import realisation, write_music, write_tipsy
from yt_fakes import BOX, REDSHIFT, FakePredictor, N, grid_dataset

import yt_protohalos as ph
from yt_protohalos.exceptions import CosmologyError, InitialConditionsError, UnitsError
from yt_protohalos.yt_interface.dataset_state import state_of
from yt_protohalos.yt_interface.linear import particle_sites

yt.set_log_level("error")
H = ph.PAPER_COSMOLOGY.h
KNOWN = {"box_size": BOX, "redshift": REDSHIFT, "cosmology": ph.PAPER_COSMOLOGY}


@pytest.fixture(scope="module")
def ics(tmp_path_factory):
    path = tmp_path_factory.mktemp("ics") / "ics.hdf5"
    return ph.generate_initial_conditions(N, BOX, seed=11, redshift=REDSHIFT, filename=path), path


def bare_grid(field):
    """In-memory grid that knows neither its box nor its redshift."""
    growth = float(field.cosmology.growth_factor(REDSHIFT))
    return yt.load_uniform_grid({"delta": (field.delta.astype(float) * growth, "")}, field.lattice.shape)


def test_a_dataset_is_freed_with_its_fields_and_predictions(ics):
    ds = ph.load(ics[1])
    ph.add_protohalo_fields(ds, predictor=FakePredictor(), cache=False)
    assert ds.all_data()["all", "particle_protohalo_mass"].size == N**3
    kept = [weakref.ref(each) for each in (ds, state_of(ds), state_of(ds).current, ph.linear_field(ds))]
    del ds
    gc.collect()
    assert [each() for each in kept] == [None] * 4


def test_the_proxy_in_a_field_function_has_the_state_of_the_dataset(ics):
    ds = ph.load(ics[1])
    proxy = weakref.proxy(ds)
    assert state_of(proxy) is state_of(ds)
    data = ds.all_data()
    assert np.array_equal(particle_sites(data.ds, "all", data), particle_sites(ds, "all", data))


def test_the_potential_of_a_dataset_without_comoving_units_is_in_megaparsec(ics):
    ds = bare_grid(ics[0])
    field = ph.linear_field(ds, **KNOWN)
    ph.add_protohalo_fields(ds, predictor=FakePredictor(), cache=False)
    assert "pccm" not in ds.unit_registry
    cube = ds.covering_grid(0, ds.domain_left_edge, ds.domain_dimensions)["gas", "linear_potential"]
    assert str(cube.units) == "Mpc**2"
    np.testing.assert_allclose(cube.v, field.phi / H**2, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("function", [ph.predict, ph.linear_field, ph.add_protohalo_fields, ph.find_protohalos])
def test_a_path_in_place_of_a_dataset_is_refused_with_the_call_that_opens_it(ics, function, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (ics[1], str(ics[1])):
        with pytest.raises(
            InitialConditionsError, match=rf"is a path, not a dataset.*yt_protohalos\.load\('{ics[1]}'\)"
        ):
            function(path)


def test_new_facts_discard_what_was_derived_without_them(ics):
    ds = bare_grid(ics[0])
    field = ph.linear_field(ds, **KNOWN)
    first = ph.predict(ds, predictor=FakePredictor(), cache=False, progress=False)
    assert ph.predict(ds) is first and ph.linear_field(ds) is field
    ph.linear_field(ds, redshift=REDSHIFT / 2)
    second = ph.predict(ds, predictor=FakePredictor(), on_range="allow", cache=False, progress=False)
    assert second.redshift == REDSHIFT / 2 and second is not first
    assert ph.linear_field(ds).box_size == BOX


SIZES = [BOX, (BOX, "Mpccm/h"), f"{1e3 * BOX} kpc/h", f"{BOX / H} Mpc", yt.YTQuantity(1e3 * BOX / H, "kpc")]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_box_size_may_have_a_unit(ics, size):
    field = ph.linear_field(bare_grid(ics[0]), **{**KNOWN, "box_size": size, "redshift": yt.YTQuantity(REDSHIFT, "")})
    assert field.box_size == pytest.approx(BOX, rel=1e-6)
    assert field.redshift == REDSHIFT


def test_a_box_size_may_be_a_quantity_of_a_dataset(ics):
    own = ph.load(ics[1])
    for unit in ("kpccm/h", "Mpc", "cm"):
        size = own.quan(BOX, "Mpccm/h").to(unit)
        assert ph.linear_field(bare_grid(ics[0]), **{**KNOWN, "box_size": size}).box_size == pytest.approx(BOX, 1e-5)


def test_units_that_are_no_length_or_no_number_are_refused_by_name(ics):
    ds = bare_grid(ics[0])
    with pytest.raises(UnitsError, match="box_size"):
        ph.linear_field(ds, **{**KNOWN, "box_size": yt.YTQuantity(6.25, "Msun")})
    with pytest.raises(UnitsError, match="redshift"):
        ph.linear_field(ds, **{**KNOWN, "redshift": yt.YTQuantity(49, "Mpc")})


@pytest.mark.parametrize("write", [write_tipsy, write_music])
def test_load_converts_the_box_size_of_files_that_do_not_hold_it(tmp_path, write):
    own = realisation(8)
    path = write(tmp_path / "ics.file", own)
    size = own.field.box_size
    for given in (size, yt.YTQuantity(1e3 * size / own.field.cosmology.h, "kpc"), f"{1e3 * size} kpccm/h"):
        ds = ph.load(path, box_size=given, redshift=own.field.redshift, cosmology=own.field.cosmology)
        assert float(ds.domain_width[0].to("Mpccm/h")) == pytest.approx(size, rel=1e-6)
    with pytest.raises(UnitsError, match="box_size"):
        ph.load(path, box_size="3 Msun", redshift=own.field.redshift, cosmology=own.field.cosmology)


def test_the_redshift_of_the_haloes_may_be_a_quantity(ics):
    ds, options = grid_dataset(ics[0]), {"cache": False, "progress": False}
    predictor = FakePredictor(amplitude_range=(0.4, 1.1))
    prediction = ph.predict(ds, predictor=predictor, redshift=yt.YTQuantity(0.3, "dimensionless"), **options)
    assert prediction.target_redshift == 0.3
    assert ph.predict(ds, predictor=predictor, redshift=0.3, **options) is prediction
    with pytest.raises(UnitsError, match="redshift"):
        ph.predict(ds, predictor=predictor, redshift=yt.YTQuantity(0.3, "Mpc"), **options)
    with pytest.raises(CosmologyError, match="redshift"):
        ph.predict(ds, predictor=predictor, redshift=-1, **options)
