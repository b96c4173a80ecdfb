"""Where a model may be trusted: its spacing, its amplitude, its cosmology.

Every check takes a policy: ``"error"`` refuses, ``"warn"`` warns, ``"allow"`` accepts silently.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from ..exceptions import CosmologyWarning, ModelError, OutOfRangeError, SpacingWarning
from ..fields.cosmology import Cosmology
from ..fields.fourier import mean_and_rms
from ..fields.lattice import Lattice
from ..fields.linear_field import LinearField
from .card import ModelCard
from .registry import available, load_card

POLICIES = ("warn", "error", "allow")
COSMOLOGY_TOLERANCES = {"omega_m": 0.05, "h": 0.08, "n_s": 0.05}
"""Largest differences from the training cosmology that pass without a warning."""
SPACING_TOLERANCE = 0.005
"""Relative difference of spacings that rounding ``L / spacing`` to whole sites may leave."""
LARGEST_RESAMPLING = 2.0
SAMPLING_ERRORS = 3.0
"""Standard deviations of the realisation by which a measured amplitude may leave the range."""


def check_policy(name: str, policy: str) -> None:
    """Raise `ModelError` for a policy that is not one of `POLICIES`."""
    if policy not in POLICIES:
        raise ModelError(f"{name} {policy!r} is unknown; use one of {', '.join(POLICIES)}")


def check_range(card: ModelCard, field: LinearField, on_range: str = "error") -> None:
    """Compare cosmology, target redshift and measured amplitude of a field with the training of a model.

    Parameters, errors and warnings as in `check_cosmology` and `check_amplitude`.
    """
    check_cosmology(card, field.cosmology, on_range, field.target_redshift)
    check_amplitude(card, field, on_range)


def check_cosmology(card: ModelCard, cosmology: Cosmology, on_range: str = "error", redshift: float = 0.0) -> None:
    """Compare the cosmology of a field with the training of a model.

    Parameters
    ----------
    card : ModelCard
    cosmology : Cosmology
        Of the field; its sigma_8 is the amplitude of delta at z = 0.
    on_range : {"error", "warn", "allow"}
        What to do when sigma_8 D(z) is outside ``card.amplitude_range``.
    redshift : float
        z, the target of the field.

    Raises
    ------
    OutOfRangeError
        The amplitude is outside the range and `on_range` is ``"error"``; the message says up to which redshift the
        model is valid, and which bundled model covers the one asked for.

    Warns
    -----
    CosmologyWarning
        sigma_8 is outside and `on_range` is ``"warn"``, or omega_m, h or n_s differs from the training by more than
        `COSMOLOGY_TOLERANCES`, unless `on_range` is ``"allow"``.
    """
    check_policy("on_range", on_range)
    if on_range == "allow":
        return
    low, high = card.amplitude_range
    amplitude = cosmology.sigma_8 * (float(cosmology.growth_factor(redshift)) if redshift else 1.0)
    if not low <= amplitude <= high:
        what = f"sigma_8 D(z) = {amplitude:.4g} at z = {redshift:g}" if redshift else f"sigma_8 = {amplitude:g}"
        message = f"{what} is outside {low:g}-{high:g}, where model {card.name!r} was trained"
        if on_range == "error":
            raise OutOfRangeError(
                f"{message}; {_remedy(card, cosmology, amplitude, redshift)}, or on_range='warn' or 'allow' to "
                "extrapolate"
            )
        warnings.warn(f"{message}; the prediction extrapolates", CosmologyWarning, stacklevel=3)
    for name, tolerance in COSMOLOGY_TOLERANCES.items():
        value, trained = getattr(cosmology, name), getattr(card.cosmology, name)
        if abs(value - trained) > tolerance:
            warnings.warn(
                f"{name} = {value:g} is outside {trained - tolerance:g}-{trained + tolerance:g}, around the "
                f"{trained:g} of model {card.name!r}; the prediction extrapolates",
                CosmologyWarning,
                stacklevel=3,
            )


def redshift_range(card: ModelCard, cosmology: Cosmology) -> tuple[float, float] | None:
    """Target redshifts at which sigma_8 D(z) is within a model's amplitude range, lowest and highest; None if none."""
    low, high = card.amplitude_range
    if cosmology.sigma_8 < low:
        return None

    def redshift(growth: float) -> float:
        return float(brentq(lambda z: float(cosmology.growth_factor(z)) - growth, 0.0, 1e3)) if growth < 1 else 0.0

    return redshift(high / cosmology.sigma_8), redshift(low / cosmology.sigma_8)


def covering_models(card: ModelCard, amplitude: float) -> list[str]:
    """Bundled models other than `card`, of its spacing and no less complete, that were trained at an amplitude."""
    names = []
    for name in available():
        other = load_card(name)[0]
        low, high = other.amplitude_range
        same = abs(other.spacing / card.spacing - 1) <= SPACING_TOLERANCE
        complete = other.instance is not None or card.instance is None
        if name != card.name and same and complete and low <= amplitude <= high:
            names.append(name)
    return names


def _remedy(card: ModelCard, cosmology: Cosmology, amplitude: float, redshift: float) -> str:
    """What to do about an amplitude outside the range of a model: redshifts and models that are valid."""
    said = []
    if redshift:
        reach = redshift_range(card, cosmology)
        if reach is not None:
            # rounded inwards, so that what is said is allowed
            first, last = math.ceil(100 * reach[0]) / 100, math.floor(100 * reach[1]) / 100
            said.append(f"it is valid {f'from z = {first:g} ' if first else ''}up to z = {last:g}")
    others = covering_models(card, amplitude)
    said.append(f"use model {' or '.join(map(repr, others))}" if others else "use another model")
    return "; ".join(said)


def measured_amplitude(card: ModelCard, field: LinearField) -> tuple[float, float]:
    """Amplitude of a field as the sigma_8 that the training cosmology would need for the same rms of delta.

    Initial-conditions files seldom state sigma_8, and a field that was not scaled to z = 0 shows here too.

    Returns
    -------
    sigma_8, error : float
        With its standard deviation over Gaussian realisations of this box.
    """
    lattice = field.lattice
    kx, ky, kz = lattice.wavenumbers()
    pairs = np.where(kz[0] == 0, 1.0, 2.0)
    # modes on the Nyquist planes are left out of displacements, and the mean out of delta
    nyquist = np.pi / lattice.spacing * (1 - 1e-4)
    table = np.geomspace(np.pi / lattice.box_size, 2 * np.pi / lattice.spacing, 1024)
    linear = card.cosmology.linear_power(table)
    expected = squares = 0.0
    for k_plane in kx[:, 0, 0]:
        k = np.sqrt(k_plane**2 + ky[0] ** 2 + kz[0] ** 2)
        left_out = (k == 0) | (np.abs(k_plane) > nyquist) | (np.abs(ky[0]) > nyquist) | (np.abs(kz[0]) > nyquist)
        power = np.interp(k, table, linear) / lattice.box_size**3
        weight = np.where(left_out, 0.0, pairs)
        expected += float(np.sum(weight * power))
        squares += float(np.sum(weight * power**2))
    if expected == 0:
        return card.cosmology.sigma_8, float("inf")
    mean, rms = mean_and_rms(field.delta)
    ratio = np.hypot(mean, rms) / np.sqrt(expected)
    scatter = 0.5 * np.sqrt(2 * squares) / expected
    return float(card.cosmology.sigma_8 * ratio), float(card.cosmology.sigma_8 * scatter)


def check_amplitude(card: ModelCard, field: LinearField, on_range: str = "error") -> None:
    """Compare the measured amplitude of a field with the range a model was trained on.

    Parameters
    ----------
    card : ModelCard
    field : LinearField
    on_range : {"error", "warn", "allow"}
        What to do when `measured_amplitude` is outside ``card.amplitude_range`` by more than `SAMPLING_ERRORS`.

    Raises
    ------
    OutOfRangeError

    Warns
    -----
    CosmologyWarning
    """
    check_policy("on_range", on_range)
    if on_range == "allow":
        return
    low, high = card.amplitude_range
    measured, error = measured_amplitude(card, field)
    if low - SAMPLING_ERRORS * error <= measured <= high + SAMPLING_ERRORS * error:
        return
    redshift = field.target_redshift
    equivalent = f"delta has the rms of sigma_8 = {measured:.3g}" + (f" at z = {redshift:g}" if redshift else "")
    message = f"{equivalent}, outside {low:.4g}-{high:.4g}, where model {card.name!r} was trained"
    if on_range == "error":
        as_measured = replace(field.cosmology, sigma_8=measured / float(field.cosmology.growth_factor(redshift)))
        raise OutOfRangeError(
            f"{message}; check that delta is the linear field at z = {redshift:g}; "
            f"{_remedy(card, as_measured, measured, redshift)}, or on_range='warn' or 'allow' to extrapolate"
        )
    warnings.warn(f"{message}; the prediction extrapolates", CosmologyWarning, stacklevel=3)


def model_side(card: ModelCard, lattice: Lattice, on_spacing: str = "warn") -> int:
    """Sites per side of the lattice on which the model must see a box, ``round(L / spacing)``.

    Parameters
    ----------
    card : ModelCard
    lattice : Lattice
        Of the field.
    on_spacing : {"warn", "error", "allow"}
        ``"warn"`` resamples with a warning up to a factor of two, ``"error"`` refuses any resampling, ``"allow"``
        resamples by any factor in silence.

    Raises
    ------
    OutOfRangeError
        Naming both spacings.

    Warns
    -----
    SpacingWarning
        The field will be resampled, or its spacing differs by more than `SPACING_TOLERANCE`.
    """
    check_policy("on_spacing", on_spacing)
    side = max(1, round(lattice.box_size / card.spacing))
    ratio = lattice.spacing / card.spacing
    if on_spacing == "allow" or (side == lattice.n and abs(ratio - 1) <= SPACING_TOLERANCE):
        return side
    both = f"lattice spacing {lattice.spacing:.5g} Mpc/h, but model {card.name!r} knows {card.spacing:.5g} Mpc/h"
    if on_spacing == "error":
        raise OutOfRangeError(f"{both}; use a model of that spacing, or on_spacing='warn' to resample")
    if not 1 / LARGEST_RESAMPLING <= ratio <= LARGEST_RESAMPLING:
        raise OutOfRangeError(
            f"{both}, more than a factor {LARGEST_RESAMPLING:g}; use a model of that spacing, "
            "or on_spacing='allow' to resample all the same"
        )
    warnings.warn(f"{both}; the field is resampled from {lattice.n} to {side} sites per side", SpacingWarning, 3)
    return side
