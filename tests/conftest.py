"""Property tests draw the same examples on every machine, and no slow one fails for its time."""

from hypothesis import settings

settings.register_profile("laws", derandomize=True, deadline=None, database=None)
settings.load_profile("laws")
