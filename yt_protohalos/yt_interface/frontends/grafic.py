"""Dataset of a grafic2 folder. Displacements are in comoving Mpc/h, velocities in peculiar km/s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yt.fields.field_info_container import FieldInfoContainer

from ...fields.cosmology import Cosmology
from ...initial_conditions.readers.grafic import is_grafic, read_grafic_layout
from ...initial_conditions.readers.music import BoxFacts
from .unigrid import UnigridDataset


class GraficFieldInfo(FieldInfoContainer):
    """Linear overdensity, displacement and peculiar velocity at the starting redshift."""

    known_other_fields = (
        ("ic_deltab", ("", [], "linear overdensity")),
        *((f"ic_posc{axis}", ("Mpccm/h", [], f"displacement {axis}")) for axis in "xyz"),
        *((f"ic_velc{axis}", ("km/s", [], f"velocity {axis}")) for axis in "xyz"),
    )


class GraficDataset(UnigridDataset):
    """One grafic2 level that fills the box; keywords override its header."""

    _field_info_class = GraficFieldInfo
    fluid_type = "grafic"
    linear_density_field = ("grafic", "ic_deltab")

    def _open(self) -> tuple[int, float, float, Cosmology]:
        layout = self._layout = read_grafic_layout(Path(self.parameter_filename))
        self._cube_names = list(layout.fields)
        header = BoxFacts(layout.box_size, layout.redshift, layout.cosmology)
        return (layout.n, *self._given.or_else(header).required(layout.folder.name))

    @classmethod
    def _is_valid(cls, filename: str, *args: Any, **kwargs: Any) -> bool:
        return is_grafic(Path(filename))
