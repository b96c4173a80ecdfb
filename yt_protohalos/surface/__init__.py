"""The yt surface: loading, fields and finder. The only place of the package that imports yt."""
