"""Loading, fields and halo finder for yt. No other room but `cli` imports yt."""

from .. import _set_yt_alias
from .halo_catalog import register_finding_method

_set_yt_alias()
# yt imports this with the frontends on every load, so the method is there before a HaloCatalog can ask for it
register_finding_method()
