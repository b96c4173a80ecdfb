"""yt datasets for Gadget initial conditions, with the pitfalls of the plain frontends settled.

The plain ones misplace the blocks of double-precision files, refuse to see an Einstein-de Sitter header as
cosmological, and look for ``ics.0`` where the file is ``ics.dat.0``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from yt.frontends.gadget.data_structures import (
    GadgetBinaryFile,
    GadgetBinaryIndex,
    GadgetDataset,
    GadgetHDF5Dataset,
)
from yt.frontends.gadget.io import IOHandlerGadgetBinary
from yt.frontends.sph.data_structures import SPHParticleIndex
from yt.utilities.cosmology import Cosmology as YTCosmology

from ..initial_conditions.readers.gadget_binary import GadgetLayout, read_layout

_CHUNK = 256**3
"""Particles a chunk. One chunk needs no Morton index, so that no index file appears beside the input."""


class _Cosmological:
    """Keeps a Gadget dataset cosmological where the header has no Lambda, and finds files of any numbering."""

    # initial conditions hold no smoothing lengths; yt would miss them, or write files of its own beside the input
    _sph_ptypes = ("none",)

    def _get_hvals(self: Any) -> dict[str, Any]:
        values: dict[str, Any] = super()._get_hvals()  # type: ignore[misc]
        self._true_file_count = int(values["NumFiles"])
        # the plain frontend would look for names of its own and give up
        return {**values, "NumFiles": 1, "NumFilesPerSnapshot": 1}

    def _parse_parameter_file(self: Any) -> None:
        super()._parse_parameter_file()  # type: ignore[misc]
        self.file_count = self.parameters["NumFiles"] = max(self._true_file_count, 1)
        if self.file_count > 1:
            self.filename_template = _numbered(self.parameter_filename)
        if not self.cosmological_simulation and self.parameters.get("Redshift", 0.0) > 0:
            self.cosmological_simulation = True
            self.current_redshift = float(self.parameters["Redshift"])
            self.hubble_constant = float(self.parameters["HubbleParam"])
            background = YTCosmology(
                hubble_constant=self.hubble_constant, omega_matter=self.omega_matter, omega_lambda=self.omega_lambda
            )
            self.current_time = background.t_from_z(self.current_redshift)

    @classmethod
    def _is_valid(cls, filename: str, *args: Any, **kwargs: Any) -> bool:
        # made by yt_protohalos.load alone: a plain yt.load keeps its own classes
        return False


def _numbered(filename: str) -> str:
    path = Path(filename)
    name = re.sub(r"\d+(\.hdf5|\.h5)?$", lambda match: "%(num)s" + (match[1] or ""), path.name)
    return str(path.with_name(name))


class GadgetICsFile(GadgetBinaryFile):
    """One file of a Gadget-2 binary set."""

    def __init__(self, ds: Any, io: Any, filename: str, file_id: int, range: Any = None) -> None:
        self.layout: GadgetLayout = read_layout(Path(filename))
        super().__init__(ds, io, filename, file_id, range)

    def _calculate_offsets(self, field_list: Any, pcounts: Any) -> None:
        """Byte offset of each (particle type, field), from the blocks as they are."""
        layout, types = self.layout, self.ds._ptype_spec
        self.field_offsets = {}
        for field, start in layout.offsets.items():
            width = layout.id_size if field == "ParticleIDs" else layout.float_size
            width *= 3 if field in ("Coordinates", "Velocities") else 1
            for index, ptype in enumerate(types):
                if field == "Mass" and index not in layout.variable_mass:
                    continue
                self.field_offsets[ptype, field] = start + (self.start or 0) * width
                start += layout.header.counts[index] * width


class _OneChunkBinaryIndex(GadgetBinaryIndex):
    chunksize = _CHUNK

    def _initialize_frontend_specific(self) -> None:
        super(GadgetBinaryIndex, self)._initialize_frontend_specific()
        self.io._float_type = self.ds._float_type


class _OneChunkHDF5Index(SPHParticleIndex):
    chunksize = _CHUNK


class IOHandlerGadgetICs(IOHandlerGadgetBinary):
    """Reader of Gadget-2 binary blocks in either precision."""

    _dataset_type = "gadget_ics"

    def __init__(self, ds: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(ds, *args, **kwargs)
        self._float_type = ds._float_type

    def _yield_coordinates(self, data_file: GadgetICsFile, needed_ptype: str | None = None) -> Any:
        with open(data_file.filename, "rb") as file:
            for ptype, count in (data_file.total_particles or {}).items():
                if count == 0 or (needed_ptype is not None and ptype != needed_ptype):
                    continue
                file.seek(self._coordinates_offset(data_file, ptype))
                yield ptype, self._read_field_from_file(file, count, "Coordinates")

    def _coordinates_offset(self, data_file: GadgetICsFile, ptype: str) -> int:
        layout, index = data_file.layout, self._ptypes.index(ptype)
        before = sum(layout.header.counts[:index]) + (data_file.start or 0)
        return layout.offsets["Coordinates"] + 3 * before * layout.float_size


class GadgetICsDataset(_Cosmological, GadgetDataset):
    """Gadget-2 binary initial conditions, formats 1 and 2, any precision and ID width."""

    _index_class = _OneChunkBinaryIndex
    _file_class = GadgetICsFile

    def __init__(self, filename: str, dataset_type: str = "gadget_ics", **kwargs: Any) -> None:
        layout = read_layout(Path(filename))
        self._float_type = f"f{layout.float_size}"
        fields = [name for name in ("Coordinates", "Velocities", "ParticleIDs", "Mass") if name in layout.offsets]
        # a massless block still is a field: the mass then comes from the header's table
        kwargs.setdefault("field_spec", tuple(fields) + (() if "Mass" in fields else ("Mass",)))
        kwargs.setdefault("long_ids", layout.id_size == 8)
        super().__init__(filename, dataset_type, **kwargs)

    def __str__(self) -> str:
        return Path(self.parameter_filename).name.split(".")[0]


class GadgetHDF5ICsDataset(_Cosmological, GadgetHDF5Dataset):
    """Gadget, AREPO, Gadget-4 and SWIFT initial conditions in HDF5."""

    _index_class = _OneChunkHDF5Index
