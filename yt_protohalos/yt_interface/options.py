"""The options of a prediction, which several functions share."""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from ..exceptions import ModelError
from ..fields.cosmology import target_redshift
from ..fields.units import Quantity, comoving_length
from ..models.fof_card import FOF
from ..models.registry import DEFAULT_MODEL, METHOD_NAMES, check_method, choose_model
from ..models.validity import check_policy, check_threshold
from ..prediction.fof_predictor import FriendsOfFriendsPredictor, check_no_threshold
from ..prediction.interface import Predictor
from ..prediction.predictor import PRECISIONS, ProtohaloPredictor

if sys.version_info >= (3, 11):
    from typing import Unpack as Unpack
else:
    from typing_extensions import Unpack as Unpack

T = TypeVar("T")


class OptionKeywords(TypedDict, total=False):
    """The options as keywords, so that type checkers and editors know the ``**options`` of functions."""

    predictor: Predictor | None
    threshold: float | None
    precision: str
    on_spacing: str
    on_range: str
    resolution: Quantity | None
    redshift: float | None
    cache: bool | str | os.PathLike[str]
    method: str | None


@dataclass(frozen=True)
class PredictionOptions:
    """The options of a prediction. They are equal if they give the same prediction, so the policies do not count.

    Parameters
    ----------
    model : str or path, optional
        Name of a bundled model, or folder of another. By default the model chosen last for the dataset, else
        ``"planck-v5"``.
    predictor : ProtohaloPredictor or FriendsOfFriendsPredictor, optional
        An existing predictor, instead of `model`.
    threshold : float, optional
        Semantic threshold on the calibrated probability, between 0 and 1; by default that of the model. It decides
        about the mask. With the method ``"positions"`` no protohalo depends on it.
    precision : {"auto", "float32", "mixed", "bfloat16"}
    on_spacing, on_range : {"warn", "error", "allow"}
        What to do if the lattice spacing is not that of the model, and if the amplitude sigma_8 D(redshift) is outside
        the range of the model.
    resolution : float, str, (float, str) or unyt_quantity, optional
        Lattice spacing of a coarser lattice on which the protohaloes are found, comoving Mpc/h or with a unit. They are
        then mapped back to the lattice of the dataset. For a model of several spacings and for the method ``"fof"``.
    redshift : float, optional
        Redshift of the haloes, 0 by default; not that of the initial conditions, which `load` and `linear_field` take
        if a file does not state it. The linear field is multiplied by D(z), which equals lowering sigma_8: the bundled
        ``"amplitude-v1"`` is valid up to about z = 0.6.
    cache : bool or path
        Keep the result on disk for later processes: True for the user's cache folder, a path for another.
    method : {"positions", "pseudo-space", "watershed", "fof"}, optional
        How protohaloes are separated: by predicted final positions, by an embedding or by contours. Without a model,
        these three choose the bundled ``"planck-v5"``, ``"planck-v4"`` or ``"watershed-v1"``; otherwise it must be the
        method of the model or predictor. ``"fof"`` works without a model: it is `FriendsOfFriendsPredictor`, for any
        lattice spacing, cosmology and amplitude. It has no `threshold`.
    """

    model: str | Path | None = None
    predictor: Predictor | None = None
    threshold: float | None = None
    precision: str = "auto"
    on_spacing: str = field(default="warn", compare=False)
    on_range: str = field(default="error", compare=False)
    resolution: Quantity | None = None
    redshift: float | None = None
    cache: bool | str | os.PathLike[str] = True
    method: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.model is not None and self.predictor is not None:
            raise ModelError(f"model {str(self.model)!r} and a predictor were both given; pass one of them")
        if self.method is not None:
            self._apply_method(self.method)
        if isinstance(self.predictor, FriendsOfFriendsPredictor):
            check_no_threshold(self.threshold)
        if self.threshold is not None:
            object.__setattr__(self, "threshold", check_threshold(self.threshold))
        if self.precision not in PRECISIONS:
            raise ModelError(f"precision {self.precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
        check_policy("on_spacing", self.on_spacing)
        check_policy("on_range", self.on_range)
        if self.resolution is not None:
            object.__setattr__(self, "resolution", comoving_length(self.resolution, "resolution"))
        if self.redshift is not None:
            object.__setattr__(self, "redshift", target_redshift(self.redshift))

    def _apply_method(self, method: str) -> None:
        """Set the model or the predictor that a method means, or check that the given one has this method."""
        if method not in METHOD_NAMES:
            raise ModelError(f"method {method!r} is unknown; use one of {', '.join(METHOD_NAMES)}")
        if self.predictor is not None:
            check_method(self.predictor.card, method)
        elif method != FOF:
            object.__setattr__(self, "model", choose_model(self.model, method))
        elif self.model is None:
            object.__setattr__(self, "predictor", FriendsOfFriendsPredictor())
        else:
            raise ModelError(f"method {FOF!r} has no model, but {str(self.model)!r} was given; leave one of them out")

    def make_predictor(self) -> Predictor:
        """The predictor that was given, or that of the model after loading it."""
        return self.predictor or ProtohaloPredictor.from_pretrained(self.model or DEFAULT_MODEL, self.precision)

    @classmethod
    def read(cls, model: str | Path | None, keywords: OptionKeywords) -> PredictionOptions:
        """Make options from the keywords of a function; an unknown one raises `TypeError`."""
        known = [each.name for each in fields(cls)]
        if unknown := sorted(keywords.keys() - {*known}):
            raise TypeError(f"unknown keyword {', '.join(unknown)}; the options of a prediction are {', '.join(known)}")
        return cls(model, **keywords)


def takes_options(target: T) -> T:
    """Show the options in the signature and docstring of a function or class with ``**options``; a decorator."""
    function: Any = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    signature, kind = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
    shown = [inspect.Parameter(each.name, kind, default=each.default) for each in fields(PredictionOptions)[1:]]
    function.__signature__ = signature.replace(parameters=[*list(signature.parameters.values())[:-1], *shown])
    # python -OO strips docstrings
    text = inspect.cleandoc(PredictionOptions.__doc__ or "").partition("----------\n")[2]
    entry = "model, **options\n    As in `PredictionOptions`."
    target.__doc__ = target.__doc__ and inspect.cleandoc(target.__doc__).replace(entry, text)
    return target
