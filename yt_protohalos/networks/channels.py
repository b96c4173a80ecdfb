"""What a network sees: normalised delta, gauge-free phi, and Lagrangian positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..exceptions import ModelError

POSITION_UNIT = 64.0
"""Lattice sites that make one unit of the position channels, whatever the crop's side."""


def remove_gauge(phi: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove the mean and the least-squares gradient of a potential crop; neither moves anything physical.

    phi : float32, (s, s, s), any unit
    returns : same shape and unit
    """
    result = phi - np.float32(phi.mean(dtype=np.float64))
    for axis in range(3):
        m = phi.shape[axis]
        if m < 2:
            continue
        shape = [1, 1, 1]
        shape[axis] = m
        ramp = (np.arange(m) - 0.5 * (m - 1)).reshape(shape)
        profile = result.mean(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        slope = float(np.dot(profile, ramp.ravel()) / np.dot(ramp.ravel(), ramp.ravel()))
        result = result - (slope * ramp).astype(np.float32)
    return result


def network_input(
    delta: NDArray[np.float32],
    phi: NDArray[np.float32],
    normalisation: Mapping[str, float],
    positions: bool,
    probability: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Stack the channels of one crop.

    Parameters
    ----------
    delta : float32, (s, s, s)
        Linear overdensity at z = 0.
    phi : float32, (s, s, s)
        Potential in comoving (Mpc/h)^2; its mean and gradient are removed here.
    normalisation : mapping
        ``{"delta": scale, "phi": scale}``, from the model card.
    positions : bool
        Append the three Lagrangian positions, in units of 64 sites from the crop's centre.
    probability : float32, (s, s, s), optional
        Append the calibrated membership probability that the semantic network gives.

    Returns
    -------
    float32, (s, s, s, 2, 3, 5 or 6)
        delta, phi[, q_x, q_y, q_z][, probability].

    Raises
    ------
    ModelError
        If a scale is missing or not positive.
    """
    for name in ("delta", "phi"):
        scale = normalisation.get(name)
        if scale is None or not scale > 0:
            raise ModelError(f"normalisation of {name} is {scale}; the card needs a positive scale for each channel")
    shape = delta.shape
    n_channels = 2 + 3 * positions + (probability is not None)
    stacked = np.empty((*shape, n_channels), dtype=np.float32)
    stacked[..., 0] = delta / np.float32(normalisation["delta"])
    stacked[..., 1] = remove_gauge(phi) / np.float32(normalisation["phi"])
    if positions:
        for axis in range(3):
            ramp = (np.arange(shape[axis], dtype=np.float32) - np.float32(0.5 * (shape[axis] - 1))) / POSITION_UNIT
            along = [1, 1, 1]
            along[axis] = shape[axis]
            stacked[..., 2 + axis] = ramp.reshape(along)
    if probability is not None:
        stacked[..., -1] = probability
    return stacked
