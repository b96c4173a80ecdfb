"""The yt surface: loading, fields and finder. The only place of the package that imports yt."""

from .halo_catalog import register_finding_method

# yt imports this with the frontends on every load, so the method is there before a HaloCatalog can ask for it
register_finding_method()
