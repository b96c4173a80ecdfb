"""Errors and warnings of yt_protohalos.

Every error derives from `ProtohaloError` and from the builtin that a caller would expect, so that
``except ValueError`` keeps working. Messages name the value, the rule and the remedy.
"""


class ProtohaloError(Exception):
    """Root of all errors that yt_protohalos raises on purpose.

    Examples
    --------
    >>> from yt_protohalos.exceptions import ProtohaloError
    >>> try:
    ...     ph.load("no_ics.txt")
    ... except (ProtohaloError, FileNotFoundError) as error:
    ...     reason = str(error)
    """


class LatticeError(ProtohaloError, ValueError):
    """A lattice, crop or site index is impossible; use the sizes that the message gives."""


class UnitsError(ProtohaloError, ValueError):
    """A quantity has no unit or the wrong dimension; give it in the unit that the message names."""


class CosmologyError(ProtohaloError, ValueError):
    """A cosmological parameter is missing or unphysical; give the value of the simulation."""


class InitialConditionsError(ProtohaloError, ValueError):
    """Initial conditions give no linear field (glass, zoom, missing particles); use a uniform periodic lattice."""


class FormatError(ProtohaloError, ValueError):
    """A file is not what its format says; write it again, or name the format with `load`."""


class EvolutionError(ProtohaloError, ValueError):
    """A plan of mesh, steps and filter that cannot evolve a field."""


class TilingError(ProtohaloError, ValueError):
    """Crops of these sizes do not tile the box; change the side, core or context."""


class ClusteringError(ProtohaloError, ValueError):
    """Points or parameters cannot be clustered; correct the parameter that the message names."""


class StitchingError(ProtohaloError, ValueError):
    """Label cubes cannot be stitched; give cubes of one shape and labels of an integer type."""


class ModelError(ProtohaloError, ValueError):
    """A model card, architecture or option is not valid; correct the key that the message names."""


class UnknownModelError(ModelError, KeyError):
    """A model is neither bundled nor a folder with a card; use one of `available`.

    Attributes
    ----------
    name : str
    available : list of str
        Names of the bundled models.
    """

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
    """A weight file is missing or has another SHA-256 than its card states; install the model again."""


class OutOfRangeError(ProtohaloError, ValueError):
    """The input is outside the range of a model's training; use another model, or allow extrapolation."""


class StoreError(ProtohaloError, OSError):
    """A stored prediction cannot be read or written; delete it and run again, or give another folder."""


class OutOfMemoryError(ProtohaloError, MemoryError):
    """A prediction needs more memory than the process may use; use more ranks, a larger machine or a smaller box."""


class ParallelError(ProtohaloError, RuntimeError):
    """One of several MPI ranks failed; the message names the rank and its error."""


class MissingPredictionError(ProtohaloError, RuntimeError):
    """A field or catalogue needs a prediction that does not exist; call `predict` first."""


class CatalogError(ProtohaloError, ValueError):
    """A halo catalogue cannot be made or read; the message says which input is missing or wrong."""


class RegionError(ProtohaloError, ValueError):
    """A Lagrangian region cannot be padded, enclosed or written; use less padding or a smaller protohalo."""


class ExperimentError(ProtohaloError, ValueError):
    """A change of a linear field is not possible; use a value in the range that the message gives."""


class ScoringError(ProtohaloError, ValueError):
    """Predictions and true labels cannot be compared; give both on one lattice."""


class ProtohaloWarning(UserWarning):
    """Root of the warnings of yt_protohalos."""


class SpacingWarning(ProtohaloWarning):
    """The lattice spacing is not the model's, so the field is resampled; a model of that spacing is better."""


class PositionsOnlyWarning(ProtohaloWarning):
    """Velocities are missing, so second-order displacements stay in delta; give a file with velocities."""


class FrameWarning(ProtohaloWarning):
    """Haloes are drawn over a plot of another frame or redshift; take a catalogue of the frame of the plot."""


class CosmologyWarning(ProtohaloWarning):
    """The cosmology is not the one of the model's training; compare with a model of that range before relying on it."""
