"""Generic HDF5 files of MUSIC and monofonIC as yt datasets."""

from .data_structures import MusicDataset, MusicFieldInfo

__all__ = ["MusicDataset", "MusicFieldInfo"]
