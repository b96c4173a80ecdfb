"""The lattice on which a method works: its own, that of the field, or a coarser one."""

from __future__ import annotations

import warnings

import numpy as np

from ..exceptions import LatticeError, OutOfRangeError, SpacingWarning
from ..fields.fourier import rms_by_side
from ..fields.linear_field import LinearField
from ..fields.units import Quantity, comoving_length
from .base_card import Card
from .card import ModelCard
from .field_range import FieldRange, measure
from .validity import SPACING_TOLERANCE, check_policy, check_range

LARGEST_RESAMPLING = 2.0
SMALLEST_SIDE = 4
"""Sites per side of the coarsest lattice that a field is reduced to."""


def model_side(card: Card, field: LinearField, on_spacing: str = "warn", resolution: Quantity | None = None) -> int:
    """Sites per side of the lattice on which a method sees the box of a field.

    A model of one spacing has ``round(L / spacing)``. Every other method works on the lattice of the field, or on a
    coarser one: that of `resolution`, or, for a model of several spacings, the finest whose rms of delta is in its
    range. Nothing is ever brought to a finer lattice, except for a model of one spacing.

    Parameters
    ----------
    card : Card
    field : LinearField
    on_spacing : {"warn", "error", "allow"}
        ``"warn"`` allows another lattice with a `SpacingWarning`, for a model of one spacing up to a factor of
        `LARGEST_RESAMPLING`. ``"error"`` allows none, ``"allow"`` any. Spacings that differ by `SPACING_TOLERANCE` or
        less count as equal. A lattice that was asked for needs no permission.
    resolution : float, str, (float, str) or unyt_quantity, optional
        Lattice spacing to which the field is reduced, comoving Mpc/h or with a unit.

    Raises
    ------
    OutOfRangeError
        The spacings differ by more than the policy allows.
    LatticeError
        The resolution is finer than the lattice, larger than a quarter of the box, or not that of a model of one
        spacing.
    UnitsError
        The resolution is not a length.
    """
    check_policy("on_spacing", on_spacing)
    if resolution is not None:
        resolution = comoving_length(resolution, "resolution", field.cosmology.h)
    if isinstance(card, ModelCard) and card.field_range is None:
        return _side_of_spacing(card, field, on_spacing, resolution)
    if resolution is not None:
        return _reduced_side(field, resolution)
    if not isinstance(card, ModelCard) or card.field_range is None:
        return field.n
    return _side_in_range(card.name, card.field_range, field, on_spacing)


def _reduced_side(field: LinearField, resolution: float) -> int:
    if not resolution >= field.spacing * (1 - SPACING_TOLERANCE):
        raise LatticeError(
            f"resolution {resolution:.5g} Mpc/h is finer than the lattice, {field.spacing:.5g} Mpc/h; nothing is "
            "gained on a finer lattice: leave it out, or give a larger one"
        )
    side = round(field.box_size / resolution)
    if side < SMALLEST_SIDE:
        raise LatticeError(
            f"resolution {resolution:.5g} Mpc/h leaves {side} sites per side of a box of {field.box_size:.5g} Mpc/h; "
            "give a smaller one"
        )
    return min(side, field.n)


def _side_in_range(name: str, known: FieldRange, field: LinearField, on_spacing: str) -> int:
    """Side of the finest lattice, at most that of the field, on which the rms of delta is not above a range."""
    highest, own = known.limits("rms")[1], measure(field)["rms"]
    if own <= highest:
        return field.n
    # the mesh of an evolution has twice as many cells, or an even number of them
    rms = rms_by_side(field.delta)[::2]
    side = 2 * int(np.flatnonzero(rms <= highest).max())
    if side < SMALLEST_SIDE:
        return field.n
    if on_spacing == "allow":
        return side
    spacing = field.box_size / side
    reason = (
        f"rms of delta is {own:.3g} on the lattice of {field.spacing:.4g} Mpc/h, above the {known.rms[1]:.3g} of model "
        f"{name!r}"
    )
    if on_spacing == "error":
        raise OutOfRangeError(f"{reason}; use resolution={spacing:.4g} to reduce the lattice, or on_spacing='warn'")
    warnings.warn(
        f"{reason}; the field is reduced from {field.n} to {side} sites per side, {spacing:.4g} Mpc/h",
        SpacingWarning,
        stacklevel=4,
    )
    return side


def _side_of_spacing(card: ModelCard, field: LinearField, on_spacing: str, resolution: float | None) -> int:
    if resolution is not None and not abs(resolution / card.spacing - 1) <= SPACING_TOLERANCE:
        raise LatticeError(
            f"resolution {resolution:.5g} Mpc/h, but model {card.name!r} works on {card.spacing:.5g} Mpc/h alone; "
            "leave it out, or use method 'fof'"
        )
    side = max(1, round(field.box_size / card.spacing))
    ratio = field.spacing / card.spacing
    if on_spacing == "allow" or (side == field.n and abs(ratio - 1) <= SPACING_TOLERANCE):
        return side
    both = f"lattice spacing {field.spacing:.5g} Mpc/h, but model {card.name!r} has {card.spacing:.5g} Mpc/h"
    if on_spacing == "error":
        raise OutOfRangeError(f"{both}; use a model of that spacing, or on_spacing='warn' to resample")
    if not 1 / LARGEST_RESAMPLING <= ratio <= LARGEST_RESAMPLING:
        raise OutOfRangeError(
            f"{both}, more than a factor {LARGEST_RESAMPLING:g}; use a model of that spacing, "
            "or on_spacing='allow' to resample all the same"
        )
    warnings.warn(f"{both}; the field is resampled from {field.n} to {side} sites per side", SpacingWarning, 4)
    return side


def checked_side(
    card: ModelCard, field: LinearField, on_spacing: str = "warn", on_range: str = "error",
    resolution: Quantity | None = None,
) -> int:  # fmt: skip
    """`model_side`, after `check_range` of the field as the model sees it."""
    side = model_side(card, field, on_spacing, resolution)
    seen = field
    if card.field_range is not None and side != field.n and on_range != "allow":
        seen = field.resampled(side)
    check_range(card, seen, on_range)
    return side
