"""Loading, fields and halo finder for yt. No other room but `cli` imports yt."""

from typing import Any

from .. import _set_yt_alias


def _find_protohalos(halo_catalog: Any, **finder_kwargs: Any) -> None:
    """Finding method of yt_astro_analysis, see `finder.find_for_halo_catalog`."""
    from .finder import find_for_halo_catalog

    find_for_halo_catalog(halo_catalog, **finder_kwargs)


_set_yt_alias()
# yt imports this package with its frontends on every load: HaloCatalog(finder_method="protohalos") then always works
try:
    from yt_astro_analysis.halo_analysis.halo_catalog.halo_finding_methods import add_finding_method
except ImportError:
    pass
else:
    add_finding_method("protohalos", _find_protohalos)
