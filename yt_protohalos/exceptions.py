"""Errors and warnings of yt_protohalos.

Every error derives from `ProtohaloError` and from the builtin that a caller would expect, so that
``except ValueError`` keeps working. Messages name the value, the rule and the remedy.
"""


class ProtohaloError(Exception):
    """Root of all errors raised on purpose by yt_protohalos.

    Examples
    --------
    >>> from yt_protohalos.exceptions import ProtohaloError
    >>> try:
    ...     ph.load("no_ics.txt")
    ... except (ProtohaloError, FileNotFoundError) as error:
    ...     reason = str(error)
    """


class LatticeError(ProtohaloError, ValueError):
    """A lattice, crop or site index that cannot exist."""


class UnitsError(ProtohaloError, ValueError):
    """A quantity without units, or with units that cannot be converted."""


class CosmologyError(ProtohaloError, ValueError):
    """Missing or unphysical cosmological parameters."""


class InitialConditionsError(ProtohaloError, ValueError):
    """Initial conditions that cannot be turned into a linear field."""


class FormatError(ProtohaloError, ValueError):
    """A file that is not what its format says."""


class TilingError(ProtohaloError, ValueError):
    """A crop plan that cannot tile the box."""


class ClusteringError(ProtohaloError, ValueError):
    """Points or parameters that cannot be clustered."""


class StitchingError(ProtohaloError, ValueError):
    """Label cubes that cannot be stitched."""


class ModelError(ProtohaloError, ValueError):
    """A model card or architecture that is not valid."""


class UnknownModelError(ModelError, KeyError):
    """A model name that is neither bundled nor a folder with a card."""

    def __init__(self, name: str, available: list[str]) -> None:
        self.name = name
        self.available = list(available)
        super().__init__(
            f"no model named {name!r}; use one of {', '.join(self.available) or 'none bundled'}, "
            "or the path of a folder that holds card.json and its weights"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class ModelIntegrityError(ModelError):
    """A weight file that is missing or whose bytes are not the card's."""


class OutOfRangeError(ProtohaloError, ValueError):
    """Input outside the range a model was trained on."""


class StoreError(ProtohaloError, OSError):
    """A stored prediction that cannot be read or written."""


class OutOfMemoryError(ProtohaloError, MemoryError):
    """A prediction that does not fit the memory the process may use."""


class ParallelError(ProtohaloError, RuntimeError):
    """Work shared by several ranks, one of which could not go on."""


class MissingPredictionError(ProtohaloError, RuntimeError):
    """A field or catalogue that needs a prediction nobody has run."""


class CatalogError(ProtohaloError, ValueError):
    """A halo catalogue that cannot be made or read."""


class RegionError(ProtohaloError, ValueError):
    """A Lagrangian region that cannot be padded, enclosed or written for a zoom."""


class ExperimentError(ProtohaloError, ValueError):
    """An experiment with a linear field that is not possible as asked."""


class ScoringError(ProtohaloError, ValueError):
    """Predictions and truths that cannot be compared."""


class ProtohaloWarning(UserWarning):
    """Root of the warnings of yt_protohalos."""


class SpacingWarning(ProtohaloWarning):
    """The lattice spacing is not the model's; the field was resampled."""


class PositionsOnlyWarning(ProtohaloWarning):
    """Velocities are missing; second-order displacements stay in delta."""


class CosmologyWarning(ProtohaloWarning):
    """The cosmology differs from the one the model was trained on."""
