"""Range of the fields that a model of several lattice spacings was trained on.

Gravity knows no length. On the lattice, with the growth factor as time, a field is described by its spectrum in units
of the spacing: by its amplitude and by its slope near the smallest scales. So a model of several spacings is valid for
fields of such spectra, whatever their spacing, cosmology and redshift are; the spacing itself is not compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fields.fourier import mean_and_rms
from ..fields.linear_field import LinearField
from . import rules

TOLERANCE = 0.05
"""Of a range, the share by which a field may lie outside it."""
_REMEDIES = {
    "rms": (
        "a finer lattice or haloes of a lower redshift",
        "a coarser lattice or haloes of a higher redshift",
    ),
    "correlation": (
        "initial conditions with less power at the smallest scales",
        "initial conditions with power at the smallest scales, not smoothed ones",
    ),
}
"""What to use where the value is too low, and where it is too high."""
_NAMES = {
    "rms": "rms of delta",
    "correlation": "correlation of delta at neighbouring sites",
}
_CORRELATION = rules.Rule("a number from -1 to 1", lambda value: rules.NUMBER.holds(value) and -1 <= value <= 1)
_RULES = {"spacing": rules.POSITIVE, "rms": rules.POSITIVE, "correlation": _CORRELATION}


def _rising(rule: rules.Rule) -> rules.Rule:
    """Rule for the lowest and the highest of values that keep a rule."""

    def holds(pair: Any) -> bool:
        two = isinstance(pair, list | tuple) and len(pair) == 2
        return two and all(map(rule.holds, pair)) and pair[0] <= pair[1]

    return rules.Rule(f"[lowest, highest], each {rule.text}", holds)


@dataclass(frozen=True)
class FieldRange:
    """Lowest and highest value of each property over the training runs.

    Attributes
    ----------
    spacing : tuple of float
        Comoving Mpc/h; a statement, not a limit.
    rms : tuple of float
        Of delta on the lattice, extrapolated linearly to the redshift of the haloes.
    correlation : tuple of float
        Of delta at neighbouring sites, which tells the slope of the spectrum near the smallest scales: 0 for white
        noise, 1 for a smooth field.

    Raises
    ------
    ModelError
        A value is not a rising pair of such numbers.
    """

    spacing: tuple[float, float]
    rms: tuple[float, float]
    correlation: tuple[float, float]

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            pair = getattr(self, name)
            rules.check("field_range", {name: pair}, {name: _rising(rule)})
            object.__setattr__(self, name, tuple(pair))

    @classmethod
    def of_fields(cls, fields: Iterable[LinearField]) -> FieldRange:
        """Range of the fields of training runs, to four digits."""
        measured = [measure(field) for field in fields]
        pairs = {name: [float(f"{each[name]:.4g}") for each in measured] for name in _RULES}
        return cls(**{name: (min(values), max(values)) for name, values in pairs.items()})

    def limits(self, name: str) -> tuple[float, float]:
        """Lowest and highest allowed value of a property: those of the training, give or take `TOLERANCE`."""
        low, high = getattr(self, name)
        room = TOLERANCE * (high - low)
        return low - room, high + room

    def departures(self, field: LinearField) -> Iterator[str]:
        """In what a field lies outside the range, and what would not, a sentence for each property."""
        measured = measure(field)
        for name in _NAMES:
            (low, high), value = getattr(self, name), measured[name]
            lowest, highest = self.limits(name)
            if not lowest <= value <= highest:
                remedy = _REMEDIES[name][value > high]
                yield f"{_NAMES[name]} is {value:.3g}, outside {low:.3g} to {high:.3g}: use {remedy}"


def measure(field: LinearField) -> dict[str, Any]:
    """Spacing, rms and correlation of a field, as `FieldRange` has them."""
    mean, rms = mean_and_rms(field.delta)
    # a constant overdensity is part of what the lattice holds, but correlates everywhere
    return {
        "spacing": field.spacing,
        "rms": float(np.hypot(mean, rms)),
        "correlation": neighbour_correlation(field.delta, mean, rms),
    }


def neighbour_correlation(delta: NDArray[np.float32], mean: float, rms: float) -> float:
    """Correlation coefficient of a periodic cube at neighbouring sites, mean over the axes; 0 for a constant cube."""
    if rms == 0:
        return 0.0
    product = 0.0
    for i, plane in enumerate(delta):
        here = plane.astype(np.float64) - mean
        following = delta[(i + 1) % len(delta)] - mean
        along = following + np.roll(here, -1, 0) + np.roll(here, -1, 1)
        product += float(np.sum(here * along))
    return product / (3 * delta.size * rms**2)
