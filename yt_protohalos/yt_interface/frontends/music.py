"""Dataset of a MUSIC or monofonIC generic HDF5 file, and a word on the Enzo folders that MUSIC writes.

Displacements are in box sides and velocities in km/s per Mpc/h of box, hence the units.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from yt.data_objects.static_output import Dataset
from yt.fields.field_info_container import FieldInfoContainer
from yt.frontends.gadget.data_structures import GadgetHDF5Dataset

from ...exceptions import FormatError, ProtohaloWarning
from ...fields.cosmology import Cosmology
from ...initial_conditions.readers.enzo import is_enzo
from ...initial_conditions.readers.music import is_generic, read_generic_layout
from ..conf import with_conf
from .unigrid import UnigridDataset


def _species_fields(species: str) -> list[tuple[str, tuple[str, list[str], str]]]:
    return [
        (f"{species}_rho", ("", [], f"{species} linear overdensity")),
        (f"{species}_delta", ("", [], f"{species} overdensity")),
        *((f"{species}_d{axis}", ("code_length", [], f"{species} displacement {axis}")) for axis in "xyz"),
        *((f"{species}_v{axis}", ("code_velocity", [], f"{species} velocity {axis}")) for axis in "xyz"),
    ]


class MusicFieldInfo(FieldInfoContainer):
    """Linear overdensity, displacement and peculiar velocity at the starting redshift."""

    known_other_fields = tuple(_species_fields("DM") + _species_fields("BA"))


class MusicDataset(UnigridDataset):
    """Generic HDF5 initial conditions; box size, redshift and cosmology from keywords, the file or its .conf."""

    _field_info_class = MusicFieldInfo
    fluid_type = "music"

    def _open(self) -> tuple[int, float, float, Cosmology]:
        path = Path(self.parameter_filename)
        self._layout = read_generic_layout(path)
        self._cube_names = sorted(self._layout.datasets)
        self._choose_fields(path.name)
        facts = self._layout.facts(with_conf(self._given, path, self._conf))
        return (self._layout.n, *facts.required(path.name))

    def _choose_fields(self, name: str) -> None:
        names = self._layout.datasets
        if "DM_rho" in names:
            self.linear_density_field = (self.fluid_type, "DM_rho")
        elif "DM_dx" in names:
            places, speeds = ([(self.fluid_type, f"DM_{kind}{axis}") for axis in "xyz"] for kind in "dv")
            self.displacement_fields = (places, speeds)
        else:
            warnings.warn(
                f"{name} holds an evolved (Eulerian) density, read as linear: second-order parts of a few per cent "
                "stay in delta; write it with generic_out_eulerian = no to avoid them",
                ProtohaloWarning,
                stacklevel=2,
            )
            self.linear_density_field = (self.fluid_type, "DM_delta")

    def _set_code_unit_attributes(self) -> None:
        super()._set_code_unit_attributes()
        self.velocity_unit = self.quan(self.box_size, "km/s")

    @classmethod
    def _is_valid(cls, filename: str, *args: Any, **kwargs: Any) -> bool:
        return _is_generic(filename) and not GadgetHDF5Dataset._is_valid(filename)


class MonofonicDataset(GadgetHDF5Dataset):
    """Makes `yt.load` open monofonIC's files as `MusicDataset`.

    yt takes any HDF5 file with a Header for Gadget's, and only a subclass of a candidate ranks before it.
    """

    def __new__(cls, filename: str, *args: Any, **kwargs: Any) -> Any:
        """Open the file as `MusicDataset`."""
        return MusicDataset(filename, *args, **kwargs)

    @classmethod
    def _is_valid(cls, filename: str, *args: Any, **kwargs: Any) -> bool:
        return _is_generic(filename) and GadgetHDF5Dataset._is_valid(filename)


def _is_generic(filename: str) -> bool:
    try:
        return is_generic(Path(filename))
    except (OSError, RuntimeError, KeyError, ValueError):  # from HDF5, for a damaged file
        return False


class EnzoICsDataset(Dataset):
    """Refuses a folder of Enzo initial conditions in `yt.load`: its grids become particles in memory."""

    def __new__(cls, filename: str, *args: Any, **kwargs: Any) -> Any:
        """Raise `FormatError`."""
        raise FormatError(
            f"{Path(filename).name} holds Enzo initial conditions, which become a dataset in memory; open them with "
            f"yt_protohalos.load({filename!r})"
        )

    @classmethod
    def _is_valid(cls, filename: str, *args: Any, **kwargs: Any) -> bool:
        # files in the folder may be outputs of Enzo itself
        return Path(filename).is_dir() and is_enzo(Path(filename))
