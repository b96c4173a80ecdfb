"""Predictions: probabilities, labels and masses on the lattice, with their provenance."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from .._utils.files import (
    PREDICTION_FORMAT,
    atomic_path,
    format_remedy,
    open_hdf5,
    read_checked,
    reserve_space,
    write_checked,
)
from ..exceptions import CatalogError, FormatError, InitialConditionsError, LatticeError, ProtohaloError, StoreError
from ..fields.cosmology import Cosmology
from ..fields.evolution import EvolvedField
from ..fields.lattice import Lattice, Triple
from ..fields.linear_field import LinearField
from ..fields.region import Region
from ..models.base_card import Card
from ..models.fof_card import card_from_json
from ..segmentation.labels import label_sizes
from ..segmentation.overlap import OverlapGraph
from .halo_motion import HaloMotion

if TYPE_CHECKING:
    import h5py
    import networkx

PREDICTION_NAME = "prediction.h5"
"""Name of a prediction in the folder of its catalogue or of its crops."""
FIELD_SAMPLE = "field_sample"
"""Setting of a prediction: what `field_sample` returns for its field. Older predictions lack it."""
_KIND = "yt_protohalos prediction"
_SAMPLE_SITES = 8


def field_sample(field: LinearField) -> list[float]:
    """Delta at a few sites, dimensionless, from corner to corner: tells realisations apart, on any machine."""
    sites = np.linspace(0, field.delta.size - 1, _SAMPLE_SITES).astype(int)
    return [float(f"{value:.4g}") for value in field.delta.ravel()[sites]]


def smallest_protohalo(card: Card, n: int, model_side: int) -> int:
    """Sites of the smallest protohalo of a model on a lattice of n sites per side, by the mass that it has on its own.

    model_side : sites per side of the same box on the lattice of the model
    """
    return max(1, round(card.min_sites * (n / model_side) ** 3))


def provenance(field: LinearField, card: Card, settings: dict[str, Any]) -> dict[str, Any]:
    """Attributes that every prediction takes from its field, its card and its settings."""
    return {
        "cosmology": field.cosmology,
        "redshift": float(field.redshift),
        "site_offset": float(field.site_offset),
        "settings": settings,
        "card": card,
        "target_redshift": float(field.target_redshift),
    }


def _slice_html(labels: NDArray[np.int32]) -> str:
    """Slice through the middle of a label cube as an inline PNG; empty without matplotlib."""
    try:
        from matplotlib import colormaps, image
    except ImportError:
        return ""
    plane = labels[:, :, labels.shape[2] // 2].T
    # neighbours in number get different colours
    colours = np.where((plane > 0)[..., None], colormaps["tab20"](7 * plane % 20), 1.0)
    scale = max(1, 256 // len(plane))
    picture = BytesIO()
    image.imsave(picture, colours.repeat(scale, axis=0).repeat(scale, axis=1), origin="lower", format="png")
    return (
        f'<img alt="labels in the middle plane" src="data:image/png;base64,{b64encode(picture.getvalue()).decode()}">'
    )


def _check_stored(probability: NDArray[np.float32], labels: NDArray[np.int32]) -> None:
    """Raise `FormatError` for cubes that no prediction has."""
    if not (probability.min(initial=1) >= 0 and probability.max(initial=0) <= 1):  # false for NaN too
        raise FormatError("its probabilities are not all from 0 to 1")
    lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
    # checked first, because the sizes of a label of 10^9 would need 8 GB
    if lowest < 0 or highest > labels.size or np.any(np.diff(sizes := label_sizes(labels)[1:]) > 0) or 0 in sizes:
        raise FormatError(f"its labels, from {lowest} to {highest}, are not 0 and 1..K by descending size")


class LabelledSites:
    """Sizes and masses of labels 1..K, 0 none, for the classes that hold the attributes declared here."""

    labels: NDArray[np.int32]
    lattice: Lattice
    cosmology: Cosmology
    site_offset: float
    target_redshift: float
    settings: dict[str, Any]
    card: Card

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._facts().items())
        return f"{type(self).__name__}({facts})"

    def _repr_html_(self) -> str:
        """A table of what it is and, if matplotlib is there, a slice through the labels."""
        rows = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in self._facts().items())
        return f"<table>{rows}</table>{_slice_html(self.labels)}"

    def _facts(self) -> dict[str, str]:
        mass = self.label_mass[1:]
        facts = {
            "protohaloes": str(self.n_protohalos),
            "lattice": " x ".join(map(str, self.labels.shape)),
            "box": f"{self.lattice.box_size:g} Mpc/h",
            "redshift": f"{self.target_redshift:g}",
            "model": self.card.name,
            "threshold": f"{self.settings.get('threshold', self.card.threshold):.3g}",
        }
        return facts | ({"masses": f"{mass.min():.3g} to {mass.max():.3g} Msun"} if len(mass) else {})

    @property
    def n_protohalos(self) -> int:
        """Number of protohaloes, K."""
        return len(self.sizes) - 1

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Sites of each label, (K + 1,); entry 0 counts the sites outside all protohaloes."""
        return label_sizes(self.labels)

    @property
    def min_sites(self) -> int:
        """Sites of the smallest protohalo that is kept, on this lattice."""
        return smallest_protohalo(self.card, self.lattice.n, self.settings.get("model_side", self.lattice.n))

    @property
    def site_mass_msun(self) -> float:
        """Mass of one lattice site in Msun (not Msun/h)."""
        return self.cosmology.site_mass_msun_h(self.lattice.spacing) / self.cosmology.h

    @property
    def label_mass(self) -> NDArray[np.float64]:
        """Lagrangian mass of each label in Msun, (K + 1,); entry 0 is 0."""
        mass = self.sizes.astype(np.float64) * self.site_mass_msun
        mass[0] = 0.0
        return mass

    @property
    def mass(self) -> NDArray[np.float32]:
        """Lagrangian mass in Msun of the protohalo each site belongs to, of the shape of `labels`; 0 outside."""
        return self.label_mass.astype(np.float32)[self.labels]


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(LabelledSites):
    """Protohaloes of a periodic box.

    Attributes
    ----------
    probability : float32, (n, n, n)
        Calibrated probability that a site ends in a halo.
    mask : bool, (n, n, n)
        Where the probability exceeds the semantic threshold.
    labels : int32, (n, n, n)
        0 none, 1..K protohaloes by descending size.
    lattice : Lattice
    cosmology : Cosmology
    redshift, target_redshift : float
        Of the initial conditions; of the haloes that were predicted, 0 unless asked for.
    site_offset : float
        Site i sits at ``(i + site_offset) * spacing``.
    overlap : OverlapGraph
        Crop labels, the label above that each became or 0, and their overlaps; empty for a method that groups the whole
        box at once.
    settings : dict
        Everything chosen for this run, JSON values.
    card : ModelCard or FriendsOfFriendsCard
    package_version : str
        Version of yt_protohalos that made it; empty for files from before it was kept.
    evolved : EvolvedField or None
        Evolved field that the prediction was made from, on this lattice; None where the networks see none or saw
        another lattice. It is not saved.
    motion : HaloMotion or None
        Positions, velocities and radii of the protohaloes at the target redshift, of their sites in the evolved field
        on the lattice of the model. None where no velocities are known, and for files from before it was kept.

    Examples
    --------
    >>> ph.predict(ds).save("prediction.h5")
    >>> prediction = ph.Prediction.load("prediction.h5")
    >>> prediction.card.name
    'planck-v5'
    >>> bool(np.all(prediction.mass[prediction.labels == 0] == 0))
    True
    """

    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    lattice: Lattice
    cosmology: Cosmology
    redshift: float
    site_offset: float
    overlap: OverlapGraph
    settings: dict[str, Any]
    card: Card
    target_redshift: float = 0.0
    package_version: str = __version__
    evolved: EvolvedField | None = None
    motion: HaloMotion | None = None

    def __post_init__(self) -> None:
        for name in ("probability", "mask", "labels"):
            self.lattice.check_cube(getattr(self, name), name)
        if self.motion is not None and len(self.motion.position) != (count := int(self.labels.max(initial=0))):
            raise CatalogError(
                f"motion is of {len(self.motion.position)} protohaloes, but the labels name {count}; replace both, or "
                "set motion to None"
            )

    @cached_property
    def graph(self) -> networkx.Graph:
        """The overlap graph as networkx has it, see `OverlapGraph.to_networkx`."""
        return self.overlap.to_networkx()

    def check_field(self, field: LinearField) -> None:
        """Raise `InitialConditionsError` unless the prediction was made from this field, as far as it remembers."""
        field = field.at_redshift(self.target_redshift)
        for name, own, given in (
            ("sites per side", self.lattice.n, field.n), ("box size", self.lattice.box_size, field.box_size),
            ("redshift", self.redshift, field.redshift), ("site offset", self.site_offset, field.site_offset),
            ("linear overdensity at some sites", self.settings.get(FIELD_SAMPLE), field_sample(field)),
        ):  # fmt: skip
            # a sample has four digits, and its field an rms of a few
            if own is not None and not np.allclose(own, given, rtol=1e-3, atol=2e-3 if isinstance(own, list) else 0.0):
                raise InitialConditionsError(
                    f"these initial conditions have {name} {given}, those of the prediction {own}; give the file that "
                    "it was made from"
                )

    def save(self, path: str | Path) -> None:
        """Write an HDF5 file, whole or not at all; an existing file is replaced.

        Raises
        ------
        StoreError
            The file cannot be written.
        """
        import h5py

        cubes = (self.probability, self.mask, self.labels)
        try:
            # compression helps, but not every cube
            reserve_space(Path(path).parent, sum(cube.nbytes for cube in cubes) + self.overlap.nbytes)
            with atomic_path(path) as partial, h5py.File(partial, "w") as file:
                self._write(file)
        except (OSError, RuntimeError) as error:  # HDF5 raises the second where a file cannot be closed
            raise StoreError(f"prediction {path} cannot be written ({error}); give a path you may write to") from error

    def _write(self, file: h5py.File) -> None:
        file.attrs.update(kind=_KIND, format=PREDICTION_FORMAT, n=self.lattice.n, box_size=self.lattice.box_size)
        for name in ("package_version", "redshift", "target_redshift", "site_offset"):
            file.attrs[name] = getattr(self, name)
        # datasets, because an HDF5 attribute holds at most 64 kB
        file["cosmology"] = json.dumps(asdict(self.cosmology))
        file["settings"] = json.dumps(self.settings)
        file["card"] = self.card.to_json()
        for name in ("probability", "mask", "labels"):
            write_checked(file, name, getattr(self, name))
        self.overlap.write(file.create_group("graph"))
        if self.motion is not None:
            for name, values in vars(self.motion).items():
                if values is not None:
                    file[f"motion/{name}"] = values

    @classmethod
    def load(cls, path: str | Path) -> Prediction:
        """Read a prediction that `save` wrote.

        Raises
        ------
        StoreError
            The file is missing, is no prediction, has an unknown format or is damaged.
        """
        try:
            with open_hdf5(path) as file:
                if file.attrs.get("kind") != _KIND:
                    raise StoreError(f"{path} is not a prediction of yt_protohalos; give a file that save() wrote")
                if file.attrs["format"] != PREDICTION_FORMAT:
                    raise StoreError(
                        f"{path} has format {file.attrs['format']}, "
                        + format_remedy(file.attrs["format"], PREDICTION_FORMAT, "run the prediction again")
                    )
                return cls._read(file)
        except StoreError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, ProtohaloError) as error:
            raise StoreError(f"prediction {path} cannot be read ({error}); delete it and predict again") from error

    @classmethod
    def _read(cls, file: h5py.File) -> Prediction:
        motion = file.get("motion")  # files from before it was kept have none
        probability, mask, labels = (read_checked(file, name) for name in ("probability", "mask", "labels"))
        _check_stored(probability, labels)
        return cls(
            probability=probability,
            mask=mask,
            labels=labels,
            lattice=Lattice(int(file.attrs["n"]), float(file.attrs["box_size"])),
            cosmology=Cosmology(**json.loads(file["cosmology"].asstr()[()])),
            redshift=float(file.attrs["redshift"]),
            site_offset=float(file.attrs["site_offset"]),
            overlap=OverlapGraph.read(file["graph"]),
            settings=json.loads(file["settings"].asstr()[()]),
            card=card_from_json(file["card"].asstr()[()]),
            # files written before there were other redshifts do not say it
            target_redshift=float(file.attrs.get("target_redshift", 0.0)),
            package_version=str(file.attrs.get("package_version", "")),
            motion=None if motion is None else HaloMotion(**{name: values[()] for name, values in motion.items()}),
        )


@dataclass(frozen=True, eq=False, repr=False)
class RegionPrediction(LabelledSites):
    """Protohaloes of a cubic part of a box.

    Attributes
    ----------
    probability, mask, labels : float32, bool and int32, (m, m, m)
        As in `Prediction`; labels by descending number of sites in the region.
    touches_border : bool, (K,)
        Whether label i + 1 has sites on a face of the region: it may go on outside, so its mass is a lower bound.
        All False where the region is the whole box.
    region : Region
    start : tuple of int
        Site of the box that ``[0, 0, 0]`` of the cubes is; any integers.
    lattice : Lattice
        Of the box, as the model saw it.
    cosmology, redshift, site_offset, settings, card, target_redshift
        As in `Prediction`.

    Examples
    --------
    >>> predictor = ph.ProtohaloPredictor.from_pretrained("planck-v5")
    >>> part = predictor.predict_region(field, ph.Region((2, 2, 2), side=3.125))
    >>> whole = part.label_mass[1:][~part.touches_border]  # Msun
    """

    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    touches_border: NDArray[np.bool_]
    region: Region
    start: Triple
    lattice: Lattice
    cosmology: Cosmology
    redshift: float
    site_offset: float
    settings: dict[str, Any]
    card: Card
    target_redshift: float = 0.0

    def __post_init__(self) -> None:
        shape = self.labels.shape
        if len(shape) != 3 or len(set(shape)) != 1 or not self.probability.shape == self.mask.shape == shape:
            raise LatticeError(
                f"probability {self.probability.shape}, mask {self.mask.shape} and labels {shape} are not one cube; "
                "give (m, m, m) each"
            )

    @property
    def n(self) -> int:
        """Sites of the region per side, m."""
        return len(self.labels)
