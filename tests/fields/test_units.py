"""Lengths, masses and redshifts with units."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from unyt import UnitRegistry, dimensions, unyt_array, unyt_quantity

from yt_protohalos.exceptions import UnitsError
from yt_protohalos.fields.units import (
    comoving_length,
    comoving_position,
    dimensionless,
    mass_msun,
    mass_msun_h,
    parse_quantity,
)

H = 0.6777


def registry(redshift: float = 49.0, cosmological: bool = True) -> UnitRegistry:
    """Units as a yt dataset has them."""
    units = UnitRegistry()
    units.add("h", H if cosmological else 1.0, dimensions.dimensionless)
    units.add("code_length", 6.17e19, dimensions.length)
    if cosmological:
        units.add("pccm", units.lut["pc"][0] / (1 + redshift), dimensions.length, prefixable=True)
    return units


@pytest.mark.parametrize("value", [6.25, np.float32(6.25), np.float64(6.25), np.array(6.25), "6.25", 25 / 4])
def test_plain_numbers_keep_their_unit(value):
    assert comoving_length(value, "box_size") == 6.25
    assert comoving_length(value, "box_size", h=H) == 6.25
    assert mass_msun(value, "mass") == mass_msun_h(value, "mass") == 6.25


@pytest.mark.parametrize("value", ["6250 kpc/h", "6.25Mpc/h", "6.25 Mpccm/h", (6250, "kpccm/h"), "6.25e6pc/h"])
@pytest.mark.parametrize("h", [None, H])
def test_units_over_h_need_no_cosmology(value, h):
    assert comoving_length(value, "box_size", h) == pytest.approx(6.25, rel=1e-14)


@pytest.mark.parametrize("value", ["6.25 Mpc", "6250kpc", (6.25, "Mpccm"), unyt_quantity(6250, "kpc")])
def test_lengths_without_h_are_comoving_and_use_the_cosmology(value):
    assert comoving_length(value, "box_size", H) == pytest.approx(6.25 * H, rel=1e-14)
    with pytest.raises(UnitsError, match=r"box_size = .* cannot become Mpccm/h without a Hubble constant; give"):
        comoving_length(value, "box_size")


@pytest.mark.parametrize("h", [None, 0.5])
def test_quantities_of_a_dataset_use_its_hubble_constant_and_redshift(h):
    units = registry(redshift=49)
    for number, unit in ((6.25, "Mpccm/h"), (6250, "kpccm/h"), (6.25 / H, "Mpccm"), (6.25 / H / 50, "Mpc")):
        assert comoving_length(unyt_quantity(number, unit, registry=units), "box_size", h) == pytest.approx(6.25)
    assert mass_msun(unyt_quantity(1e10, "Msun/h", registry=units), "mass", h) == pytest.approx(1e10 / H)
    assert mass_msun_h(unyt_quantity(1e10, "Msun", registry=units), "mass", h) == pytest.approx(1e10 * H)


def test_a_dataset_without_cosmology_knows_no_hubble_constant():
    units = registry(cosmological=False)
    assert comoving_length(unyt_quantity(3.0, "Mpc/h", registry=units), "side") == 3.0
    assert comoving_length(unyt_quantity(3.0, "Mpc", registry=units), "side", H) == pytest.approx(3 * H)
    with pytest.raises(UnitsError, match="Hubble"):
        comoving_length(unyt_quantity(3.0, "code_length", registry=units), "side")


def test_masses_convert_both_ways():
    assert mass_msun("1e10 Msun", "mass") == 1e10
    assert mass_msun("1e10Msun/h", "mass", H) == pytest.approx(1e10 / H)
    assert mass_msun_h((1e10, "Msun"), "mass", H) == pytest.approx(1e10 * H)
    assert mass_msun_h(unyt_quantity(1e10, "Msun"), "mass", H) == pytest.approx(1e10 * H)
    for convert, value in ((mass_msun, "1e10 Msun/h"), (mass_msun_h, "1e10 Msun")):
        with pytest.raises(UnitsError, match="Hubble"):
            convert(value, "mass")


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        np.array([1, 2, 3]),
        ["1 Mpc/h", (2000, "kpc/h"), 3],
        ([1000, 2000, 3000], "kpc/h"),
        unyt_array([1, 2, 3], "Mpccm/h", registry=registry()),
        unyt_array([1, 2, 3], "Mpc") / H,
        [unyt_quantity(1 / H, "Mpc"), 2, 3],
    ],
)
def test_positions_in_every_form(value):
    found = comoving_position(value, "center", H)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [1, 2, 3], rtol=1e-14)


def test_positions_keep_their_shape():
    rows = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(comoving_position(rows, "centers"), rows)
    np.testing.assert_allclose(comoving_position(unyt_array(rows, "Mpc"), "centers", H), rows * H)


@pytest.mark.parametrize("value", ["3 Msun", (3, "s"), unyt_quantity(3, "Mpc**2"), unyt_quantity(3, "")])
def test_a_wrong_dimension_is_named(value):
    with pytest.raises(UnitsError, match=r"box_size = .* is not a length; give it in a unit such as Mpccm/h"):
        comoving_length(value, "box_size", H)
    with pytest.raises(UnitsError, match=r"center = .* is not a length"):
        comoving_position([1, 2, value], "center", H)


def test_a_length_is_no_mass():
    for convert in (mass_msun, mass_msun_h):
        with pytest.raises(UnitsError, match=r"mass = 3\.0 Mpc is not a mass"):
            convert("3 Mpc", "mass", H)


@pytest.mark.parametrize("value", [None, True, [1.0, 2.0], "", "nan", "Mpc", "3 parrots", (3, "parrots"), object()])
def test_what_is_no_length_is_refused(value):
    with pytest.raises(UnitsError, match="box_size = "):
        comoving_length(value, "box_size", H)


def test_a_redshift_has_no_unit():
    assert dimensionless(0.5, "redshift") == dimensionless(unyt_quantity(0.5, ""), "redshift") == 0.5
    with pytest.raises(UnitsError, match=r"redshift = 3 Mpc has a unit; give a number"):
        dimensionless(unyt_quantity(3, "Mpc"), "redshift")
    with pytest.raises(UnitsError, match=r"redshift = '0.5' is not a number"):
        dimensionless("0.5", "redshift")


def test_the_parser_keeps_the_unit_as_written():
    assert parse_quantity(" 3sites ") == (3.0, "sites")
    assert parse_quantity("-2.5e1 Mpc/h") == (-25.0, "Mpc/h")
    assert parse_quantity(".5") == (0.5, "")
    with pytest.raises(UnitsError, match="padding = 'wide' does not start with a number"):
        parse_quantity("wide", "padding")


def test_plain_numbers_do_not_import_unyt():
    code = (
        "import sys; from yt_protohalos.fields.units import *; comoving_length(1.0, 'side'); assert 'unyt' not in "
        "sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
