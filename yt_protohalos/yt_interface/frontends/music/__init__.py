"""Generic HDF5 files of MUSIC and monofonIC as yt datasets."""

from .data_structures import MonofonicDataset, MusicDataset, MusicFieldInfo

__all__ = ["MonofonicDataset", "MusicDataset", "MusicFieldInfo"]
