"""Particles of a yt dataset, read chunk by chunk in the units of the package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..initial_conditions.checks import quiet_casts, whole_ids
from ..initial_conditions.sources import CHUNK, Chunk

_FIELDS = {
    "positions": "particle_position",
    "velocities": "particle_velocity",
    "ids": "particle_index",
    "masses": "particle_mass",
}


class YTParticles:
    """One raw particle type of a dataset as a `ParticleSource`: positions float64, velocities and masses float32.

    Each pass reads the file again, in the chunks of yt, which yt does not cache. `box_size` is in comoving Mpc/h, and
    `mass_unit` the factor from Msun to Msun/h, divided by the fraction of all mass in these particles, or None to read
    no masses.
    """

    def __init__(self, ds: Any, ptype: str, box_size: float, mass_unit: float | None) -> None:
        self.count = int(ds.particle_type_counts[ptype])
        # yt makes particle_velocity from its components, whether or not there are any
        marks = {**_FIELDS, "velocities": "particle_velocity_x"}
        known = {name for name, field in marks.items() if (ptype, field) in ds.derived_field_list}
        self.names = frozenset({"positions"} | known - ({"masses"} if mass_unit is None else set()))
        self._ds, self._ptype, self._box_size, self._mass_unit = ds, ptype, box_size, mass_unit

    def chunks(self, *names: str) -> Iterator[Chunk]:
        """Yield chunks of at most `CHUNK` particles in the order of the file; see `ParticleSource.chunks`."""
        fields = {name: (self._ptype, _FIELDS[name]) for name in names}
        whole = self._ds.all_data()
        for part in whole.chunks([], "io"):
            with quiet_casts():
                part.get_data(list(fields.values()))
                read = {name: part[field] for name, field in fields.items()}
            for start in range(0, len(read[names[0]]), CHUNK):
                with quiet_casts():
                    chunk = {name: self._in_units(name, read[name][start : start + CHUNK]) for name in names}
                yield chunk
            # free it before the next part is read
            del read

    def _in_units(self, name: str, values: Any) -> NDArray:
        if name == "positions":
            return box_positions(self._ds, values, self._box_size)
        if name == "velocities":
            return np.asarray(values.to("km/s"), dtype=np.float32)
        if name == "ids":
            return whole_ids(np.asarray(values), str(self._ds))
        return np.asarray(values.to("Msun") * self._mass_unit, dtype=np.float32)


def box_positions(ds: Any, positions: Any, box_size: float) -> NDArray[np.float64]:
    """Positions in comoving Mpc/h from the corner of the box, bit for bit the same in any data object.

    positions : unyt array, (N, 3)
    """
    edge = np.asarray(ds.domain_left_edge.to("code_length"))
    scale = box_size / float(ds.domain_width[0].to("code_length"))
    return (np.asarray(positions.to("code_length"), dtype=np.float64) - edge) * scale


def total_mass(ds: Any, ptype: str) -> float:
    """Mass of all particles of a type in Msun."""
    parts = ds.all_data().chunks([], "io")
    with quiet_casts():
        return float(sum(float(part[ptype, "particle_mass"].to("Msun").sum()) for part in parts))
