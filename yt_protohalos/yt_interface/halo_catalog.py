"""``HaloCatalog(data_ds=ds, finder_method="protohalos")`` of yt_astro_analysis, where that package is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

METHOD_NAME = "protohalos"


def register_finding_method() -> bool:
    """Add this finder to yt_astro_analysis's finding methods; returns whether that package can be imported."""
    try:
        from yt_astro_analysis.halo_analysis.halo_catalog.halo_finding_methods import add_finding_method
    except ImportError:
        return False

    add_finding_method(METHOD_NAME, find_for_halo_catalog)
    return True


def find_for_halo_catalog(halo_catalog: Any, **finder_kwargs: Any) -> None:
    """Finding method: write the catalogue where the `HaloCatalog` keeps its own.

    Parameters
    ----------
    halo_catalog : yt_astro_analysis HaloCatalog
    **finder_kwargs
        Keywords of `find_protohalos`, from ``HaloCatalog(finder_kwargs=...)``, but for the place of the file.
    """
    from yt.data_objects.time_series import DatasetSeries

    from .finder import find_protohalos

    data = halo_catalog.data_ds
    datasets: Any = data if isinstance(data, DatasetSeries) else [data]
    for ds in datasets:
        halo_catalog._source_ds = ds
        find_protohalos(ds, Path(halo_catalog.output_dir), name=halo_catalog.output_basename, **finder_kwargs)
