"""Fields a model is valid for: their amplitude and cosmology, or their spectrum on the lattice."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import brentq

from ..exceptions import CosmologyWarning, ModelError, OutOfRangeError
from ..fields.cosmology import Cosmology
from ..fields.fourier import mean_and_rms
from ..fields.linear_field import LinearField
from .card import ModelCard
from .registry import available, load_card

POLICIES = ("warn", "error", "allow")
"""Answers to a field outside the range: warn, raise an error, or accept it without a warning."""
COSMOLOGY_TOLERANCES = {"omega_m": 0.05, "h": 0.08, "n_s": 0.05}
"""Largest differences from the training cosmology that pass without a warning."""
SPACING_TOLERANCE = 0.005
"""Largest relative difference of two spacings that count as equal."""
SAMPLING_ERRORS = 3.0
"""Standard deviations (over realisations) by which a measured amplitude may leave the range."""


def check_policy(name: str, policy: str) -> None:
    """Raise `ModelError` for a policy that is not one of `POLICIES`."""
    if policy not in POLICIES:
        raise ModelError(f"{name} {policy!r} is unknown; use one of {', '.join(POLICIES)}")


def check_threshold(threshold: Any) -> float:
    """Return a semantic threshold as a float.

    Raises
    ------
    ModelError
        It is not a number between 0 and 1.
    """
    number = isinstance(threshold, int | float | np.number) and not isinstance(threshold, bool)
    if not number or not 0 < threshold < 1:
        raise ModelError(f"threshold {threshold!r} is not between 0 and 1; it is a probability, e.g. 0.5")
    return float(threshold)


def check_range(card: ModelCard, field: LinearField, on_range: str = "error") -> None:
    """Compare the cosmology, the target redshift and the measured amplitude of a field with the training of a model.

    For a model of several spacings, its `field_range` is compared with the spectrum instead.

    Parameters
    ----------
    card : ModelCard
    field : LinearField
    on_range : {"error", "warn", "allow"}
        Action if sigma_8 D(z), as stated or as measured, is outside ``card.amplitude_range``.

    Raises
    ------
    OutOfRangeError
        The amplitude is outside the range and `on_range` is ``"error"``. The message names the redshifts at which the
        model is valid, and the bundled models that cover this one.

    Warns
    -----
    CosmologyWarning
        The amplitude is outside the range and `on_range` is ``"warn"``, or omega_m, h or n_s differs from the training
        by more than `COSMOLOGY_TOLERANCES` and `on_range` is not ``"allow"``.
    """
    if card.field_range is not None:
        check_field(card, field, on_range)
        return
    check_cosmology(card, field.cosmology, on_range, field.target_redshift)
    check_amplitude(card, field, on_range)


def check_field(card: ModelCard, field: LinearField, on_range: str = "error") -> None:
    """Compare the spectrum of a field with the range of a model of several spacings."""
    check_policy("on_range", on_range)
    if on_range == "allow" or card.field_range is None:
        return
    if departures := list(card.field_range.departures(field)):
        message = f"the field is unlike those that model {card.name!r} was trained on: {'; '.join(departures)}"
        if on_range == "error":
            raise OutOfRangeError(f"{message}; or on_range='warn' or 'allow' to extrapolate")
        warnings.warn(f"{message}; the prediction extrapolates", CosmologyWarning, stacklevel=3)


def check_cosmology(card: ModelCard, cosmology: Cosmology, on_range: str = "error", redshift: float = 0.0) -> None:
    """Compare the stated cosmology of a field, at its target redshift, with the training of a model."""
    check_policy("on_range", on_range)
    if on_range == "allow":
        return
    low, high = card.amplitude_range
    amplitude = cosmology.sigma_8 * (float(cosmology.growth_factor(redshift)) if redshift else 1.0)
    if not low <= amplitude <= high:
        value = f"sigma_8 D(z) = {amplitude:.4g} at z = {redshift:g}" if redshift else f"sigma_8 = {amplitude:g}"
        message = f"{value} is outside {low:g}-{high:g}, where model {card.name!r} was trained"
        _refuse_or_warn(message, on_range, card, cosmology, amplitude, redshift)
    for name, tolerance in COSMOLOGY_TOLERANCES.items():
        value, trained = getattr(cosmology, name), getattr(card.cosmology, name)
        if abs(value - trained) > tolerance:
            warnings.warn(
                f"{name} = {value:g} is outside {trained - tolerance:g}-{trained + tolerance:g}, around the "
                f"{trained:g} of model {card.name!r}; the prediction extrapolates",
                CosmologyWarning,
                stacklevel=3,
            )


def check_amplitude(card: ModelCard, field: LinearField, on_range: str = "error") -> None:
    """Compare the measured amplitude of a field with the range of a model, give or take `SAMPLING_ERRORS`."""
    check_policy("on_range", on_range)
    if on_range == "allow":
        return
    low, high = card.amplitude_range
    measured, error = measured_amplitude(card, field)
    if low - SAMPLING_ERRORS * error <= measured <= high + SAMPLING_ERRORS * error:
        return
    redshift = field.target_redshift
    message = (
        f"delta has the rms of sigma_8 = {measured:.3g}{f' at z = {redshift:g}' if redshift else ''}, outside "
        f"{low:.4g}-{high:.4g}, where model {card.name!r} was trained"
    )
    if on_range == "error":
        message += f"; check that delta is the linear field at z = {redshift:g}"
    as_measured = replace(field.cosmology, sigma_8=measured / float(field.cosmology.growth_factor(redshift)))
    _refuse_or_warn(message, on_range, card, as_measured, measured, redshift)


def _refuse_or_warn(
    message: str, on_range: str, card: ModelCard, cosmology: Cosmology, amplitude: float, redshift: float
) -> None:
    """Warn of an amplitude outside the range of a model, or raise with the redshifts and models that are valid."""
    if on_range == "warn":
        warnings.warn(f"{message}; the prediction extrapolates", CosmologyWarning, stacklevel=4)
        return
    reach = redshift_range(card, cosmology) if redshift else None
    if reach is not None:
        # rounded inwards, so that the redshifts named are allowed
        first, last = math.ceil(100 * reach[0]) / 100, math.floor(100 * reach[1]) / 100
        message += f"; it is valid {f'from z = {first:g} ' if first else ''}up to z = {last:g}"
    covering = " or ".join(map(repr, covering_models(card, amplitude)))
    other = f"model {covering}" if covering else "another model"
    raise OutOfRangeError(f"{message}; use {other}, or on_range='warn' or 'allow' to extrapolate")


def redshift_range(card: ModelCard, cosmology: Cosmology) -> tuple[float, float] | None:
    """Lowest and highest target redshift with sigma_8 D(z) in a model's amplitude range; None if there is none."""
    low, high = card.amplitude_range
    if cosmology.sigma_8 < low:
        return None

    def redshift(growth: float) -> float:
        return float(brentq(lambda z: float(cosmology.growth_factor(z)) - growth, 0.0, 1e3)) if growth < 1 else 0.0

    return redshift(high / cosmology.sigma_8), redshift(low / cosmology.sigma_8)


def covering_models(card: ModelCard, amplitude: float) -> list[str]:
    """Names of other bundled models for an amplitude, of the same spacing; with instances if `card` has them."""
    return [
        other.name
        for other in (load_card(name)[0] for name in available() if name != card.name)
        if abs(other.spacing / card.spacing - 1) <= SPACING_TOLERANCE
        and (other.separates_haloes or not card.separates_haloes)
        and other.amplitude_range[0] <= amplitude <= other.amplitude_range[1]
    ]


def measured_amplitude(card: ModelCard, field: LinearField) -> tuple[float, float]:
    """Measure the amplitude of a field as a sigma_8: that of the training cosmology with the same rms of delta.

    Returns it with its standard deviation over Gaussian realisations of this box. Initial-conditions files seldom state
    sigma_8, and the rms also shows a field that was not scaled to z = 0.
    """
    lattice = field.lattice
    kx, ky, kz = lattice.wavenumbers()
    pairs = np.where(kz[0] == 0, 1.0, 2.0)
    # displacements have no modes on the Nyquist planes, and delta has no mean
    nyquist = np.pi / lattice.spacing * (1 - 1e-4)
    table = np.geomspace(np.pi / lattice.box_size, 2 * np.pi / lattice.spacing, 1024)
    linear = card.cosmology.linear_power(table)
    expected = squares = 0.0
    for k_plane in kx[:, 0, 0]:
        k = np.sqrt(k_plane**2 + ky[0] ** 2 + kz[0] ** 2)
        omitted = (k == 0) | (np.abs(k_plane) > nyquist) | (np.abs(ky[0]) > nyquist) | (np.abs(kz[0]) > nyquist)
        power = np.interp(k, table, linear) / lattice.box_size**3
        weight = np.where(omitted, 0.0, pairs)
        expected += float(np.sum(weight * power))
        squares += float(np.sum(weight * power**2))
    if expected == 0:
        return card.cosmology.sigma_8, float("inf")
    mean, rms = mean_and_rms(field.delta)
    ratio = np.hypot(mean, rms) / np.sqrt(expected)
    scatter = 0.5 * np.sqrt(2 * squares) / expected
    return float(card.cosmology.sigma_8 * ratio), float(card.cosmology.sigma_8 * scatter)
