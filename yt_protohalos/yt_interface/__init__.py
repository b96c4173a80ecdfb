"""Loading, fields and halo finder for yt. No other room but `cli` imports yt."""

from typing import Any

from .. import _set_yt_alias


def _find_protohalos(halo_catalog: Any, **finder_kwargs: Any) -> None:
    """Write the catalogue in the folder of a `HaloCatalog`, with ``HaloCatalog(finder_kwargs=...)`` as keywords."""
    from yt.data_objects.time_series import DatasetSeries

    from .finder import find_protohalos

    data = halo_catalog.data_ds
    datasets: Any = data if isinstance(data, DatasetSeries) else [data]
    for ds in datasets:
        halo_catalog._source_ds = ds
        find_protohalos(ds, halo_catalog.output_dir, name=halo_catalog.output_basename, **finder_kwargs)


_set_yt_alias()
# yt imports this package with its frontends on every load: HaloCatalog(finder_method="protohalos") then always works
try:
    from yt_astro_analysis.halo_analysis.halo_catalog.halo_finding_methods import add_finding_method
except ImportError:
    pass
else:
    # making the class is what replaces annotate_halos
    from .frame_check import FrameCheckedHalos as FrameCheckedHalos

    add_finding_method("protohalos", _find_protohalos)
