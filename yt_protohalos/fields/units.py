"""Lengths, masses and redshifts with units, converted to the plain numbers that the package computes with.

A plain number keeps the unit that the documentation of its parameter states. The other forms are a `unyt` quantity,
which includes the quantities of yt (``ds.quan(6.25, "Mpccm/h")``), a pair ``(6.25, "Mpccm/h")`` and a string
``"6.25 Mpccm/h"``. Units may carry ``h``, and ``pccm`` is the comoving parsec, both as in yt.

The quantities of a cosmological yt dataset know its Hubble constant and redshift, so that ``kpc`` is a proper length
there and ``kpccm`` a comoving one. Everything else is comoving whatever its name, and ``Mpc`` becomes ``Mpc/h`` with
the Hubble constant of the cosmology that the function has; a function without one raises `UnitsError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..exceptions import UnitsError

if TYPE_CHECKING:
    from unyt import unyt_array, unyt_quantity

Quantity: TypeAlias = "float | str | tuple[float, str] | unyt_quantity"
"""A length or a mass: a number, a string or pair with a unit, or a quantity."""
Position: TypeAlias = "Iterable[Quantity] | tuple[Iterable[float], str] | NDArray[np.floating] | unyt_array"
"""Coordinates: numbers, quantities, numbers and a unit, or an array of quantities."""

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*")
_LENGTH, _MASS = ("a length", "Mpc", "Mpccm"), ("a mass", "Msun", "Msun")


def comoving_length(value: Quantity, name: str, h: float | None = None) -> float:
    """Convert a length to comoving Mpc/h.

    Parameters
    ----------
    value : float, str, (float, str) or unyt_quantity
        A plain number is in comoving Mpc/h already.
    name : str
        The parameter, for messages.
    h : float, optional
        Hubble constant in 100 km/s/Mpc, where the function knows it.

    Raises
    ------
    UnitsError
        The value is not a length, or needs a Hubble constant that is not known.

    Examples
    --------
    >>> from yt_protohalos.fields.units import comoving_length
    >>> comoving_length("6250 kpc/h", "box_size")
    6.25
    """
    return float(_plain(_converted(value, name, _LENGTH, h, per_h=True), name, _LENGTH[0]))


def comoving_position(value: Position, name: str, h: float | None = None) -> NDArray[np.floating]:
    """Convert coordinates to comoving Mpc/h in the shape they have; see `comoving_length`.

    The result is float64; a plain array is returned as it is.
    """
    if isinstance(value, np.ndarray) and not hasattr(value, "units"):
        return value.astype(np.float64, copy=False) if value.dtype.kind in "iu" else value
    if isinstance(value, Iterable) and not (isinstance(value, str) or hasattr(value, "units") or _is_pair(value)):
        return np.asarray([comoving_length(each, name, h) for each in value], dtype=np.float64)
    return np.asarray(_converted(value, name, _LENGTH, h, per_h=True), dtype=np.float64)


def mass_msun(value: Quantity, name: str, h: float | None = None) -> float:
    """Convert a mass to Msun, the unit of a plain number; see `comoving_length`."""
    return float(_plain(_converted(value, name, _MASS, h, per_h=False), name, _MASS[0]))


def mass_msun_h(value: Quantity, name: str, h: float | None = None) -> float:
    """Convert a mass to Msun/h, the unit of a plain number; see `comoving_length`."""
    return float(_plain(_converted(value, name, _MASS, h, per_h=True), name, _MASS[0]))


def dimensionless(value: float | unyt_quantity, name: str) -> float:
    """Convert a redshift, or another number without unit, to a float; `UnitsError` for anything else."""
    return float(_plain(without_unit(value, name), name, "a number"))


def without_unit(value: Any, name: str) -> Any:
    """Number or array of a dimensionless quantity, and any other value as it is; `UnitsError` if there is a unit."""
    if not hasattr(value, "units"):
        return value
    if not value.units.is_dimensionless:
        raise UnitsError(f"{name} = {value} has a unit; give a number without one")
    return value.to_value("dimensionless")


def parse_quantity(text: str, name: str = "quantity") -> tuple[float, str]:
    """Split a text such as ``"3sites"`` into a number and its unit, which is empty if there is none.

    Raises `UnitsError` if the text does not start with a number.

    Examples
    --------
    >>> from yt_protohalos.fields.units import parse_quantity
    >>> parse_quantity("0.5Mpc/h")
    (0.5, 'Mpc/h')
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise UnitsError(f"{name} = {text!r} does not start with a number; write one and its unit, e.g. '0.5 Mpc/h'")
    return float(match[1]), match[2]


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str)


def _plain(value: Any, name: str, kind: str) -> int | float:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.size != 1:
        raise UnitsError(f"{name} = {value!r} is not {kind}; give one number, or a quantity with its unit")
    number: int | float = array.item()
    return number


def _converted(value: Any, name: str, kind: tuple[str, str, str], h: float | None, per_h: bool) -> Any:
    """Number or numbers of a value in the unit of `kind`, over h where `per_h`; a value without a unit as it is."""
    what, unit, comoving = kind
    if isinstance(value, str):
        number, written = parse_quantity(value, name)
        value = (number, written) if written else number
    pair = _is_pair(value)
    if pair:
        value = _quantity(value[0], value[1], name, h)
    elif not hasattr(value, "units"):
        return value
    from unyt import dimensions

    registry, written = value.units.registry, value.units
    wanted = f"{comoving}/h" if per_h else comoving
    if written.dimensions != (dimensions.length if kind is _LENGTH else dimensions.mass):
        raise UnitsError(f"{name} = {value} is not {what}; give it in a unit such as {wanted}")
    known = h is not None if pair else "pccm" in registry
    if known or _power_of_h(written) == (-1 if per_h else 0):
        return value.to_value(wanted if "pccm" in registry else wanted.replace(comoving, unit))
    if h is None:
        raise UnitsError(
            f"{name} = {value} cannot become {wanted} without a Hubble constant; give it in {wanted}, or as a quantity "
            "of a cosmological dataset, ds.quan(...)"
        )
    return value.to_value(unit) * h if per_h else value.to_value(f"{unit}/h") / h


def _power_of_h(unit: Any) -> int:
    return next((int(power) for symbol, power in unit.expr.as_powers_dict().items() if str(symbol) == "h"), 0)


def _quantity(value: Any, unit: str, name: str, h: float | None) -> Any:
    """Quantity of a number or numbers and the name of a unit; h counts as 1 where it is not known."""
    from unyt import unyt_array, unyt_quantity
    from unyt.exceptions import UnitParseError

    try:
        kind = unyt_array if np.ndim(value) else unyt_quantity
        return kind(value, unit, registry=_registry(1.0 if h is None else h))
    except (UnitParseError, TypeError) as error:
        raise UnitsError(f"{name} = {value!r} {unit!r} has no known unit; use one such as Mpccm/h or Msun") from error


@lru_cache(maxsize=16)
def _registry(h: float) -> Any:
    """Units of unyt with ``h`` and the comoving parsec ``pccm``."""
    from unyt import UnitRegistry, dimensions

    registry = UnitRegistry()
    registry.add("h", h, dimensions.dimensionless)
    registry.add("pccm", registry.lut["pc"][0], dimensions.length, prefixable=True)
    return registry
