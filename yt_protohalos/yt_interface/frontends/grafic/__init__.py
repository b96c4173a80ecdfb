"""grafic2 folders as yt datasets."""

from .data_structures import GraficDataset, GraficFieldInfo

__all__ = ["GraficDataset", "GraficFieldInfo"]
