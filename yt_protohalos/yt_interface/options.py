"""The options of a prediction: declared, checked and documented once for every function that takes them."""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import numpy as np

from ..exceptions import ModelError
from ..fields.cosmology import target_redshift
from ..models.registry import check_method, choose_model
from ..models.validity import check_policy
from ..prediction.predictor import PRECISIONS, ProtohaloPredictor

if sys.version_info >= (3, 11):
    from typing import Unpack as Unpack
else:
    from typing_extensions import Unpack as Unpack

T = TypeVar("T")


class OptionKeywords(TypedDict, total=False):
    """Fields of `PredictionOptions` after the model, for the ``**options`` of functions."""

    predictor: ProtohaloPredictor | None
    threshold: float | None
    precision: str
    on_spacing: str
    on_range: str
    redshift: float | None
    cache: bool | str | os.PathLike[str]
    method: str | None


@dataclass(frozen=True)
class PredictionOptions:
    """What to predict with; equal where the prediction asked for is the same one, whatever the two policies.

    Parameters
    ----------
    model : str or path, optional
        Name of a bundled model or folder of one; by default the model of `add_protohalo_fields`, else the bundled one.
    predictor : ProtohaloPredictor, optional
        A predictor in hand, instead of `model`.
    threshold : float, optional
        Semantic threshold on the calibrated probability; the model's own by default.
    precision : {"auto", "float32", "mixed", "bfloat16"}
    on_spacing, on_range : {"warn", "error", "allow"}
        What to do when the lattice spacing is not the model's, and when the amplitude, sigma_8 D(redshift), is outside
        the model's range.
    redshift : float, optional
        Redshift at which the haloes are predicted, 0 by default. It has nothing to do with the redshift of the initial
        conditions, which `load` and `linear_field` take where a file does not state it. The linear field is multiplied
        by D(z), which equals lowering sigma_8: the bundled ``"amplitude-v1"`` is valid up to z = 0.6 or so.
    cache : bool or path
        Keep the result on disk, where later processes find it: True for the user's cache folder, a path for another.
    method : {"clustering", "watershed"}, optional
        How protohaloes are separated: chooses the bundled model, ``"planck-v4"`` or ``"watershed-v1"``, where none is
        given, and must be that of the model or predictor where one is.
    """

    model: str | Path | None = None
    predictor: ProtohaloPredictor | None = None
    threshold: float | None = None
    precision: str = "auto"
    on_spacing: str = field(default="warn", compare=False)
    on_range: str = field(default="error", compare=False)
    redshift: float | None = None
    cache: bool | str | os.PathLike[str] = True
    method: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.model is not None and self.predictor is not None:
            raise ModelError(f"model {str(self.model)!r} and a predictor were both given; pass one of them")
        if self.method is not None:
            object.__setattr__(self, "model", self._model_of_method(self.method))
        value = self.threshold
        if value is not None and not (isinstance(value, int | float | np.number) and 0 < value < 1):
            raise ModelError(f"threshold {value!r} is not between 0 and 1; it is a probability, e.g. 0.5")
        if self.precision not in PRECISIONS:
            raise ModelError(f"precision {self.precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
        check_policy("on_spacing", self.on_spacing)
        check_policy("on_range", self.on_range)
        if self.redshift is not None:
            target_redshift(self.redshift)

    def _model_of_method(self, method: str) -> str | Path | None:
        """The model that method, model and predictor mean together; None where there is a predictor."""
        chosen = choose_model(self.model, method)
        if self.predictor is None:
            return chosen
        check_method(self.predictor.card, method)
        return None

    @classmethod
    def read(cls, model: str | Path | None, keywords: OptionKeywords) -> PredictionOptions:
        """Options from the keywords of a function; `TypeError` for one that is unknown."""
        known = [each.name for each in fields(cls)]
        if unknown := sorted(keywords.keys() - {*known}):
            raise TypeError(f"unknown keyword {', '.join(unknown)}; the options of a prediction are {', '.join(known)}")
        return cls(model, **keywords)


def takes_options(target: T) -> T:
    """Decorator that shows the options in the signature and docstring of a function or class with ``**options``."""
    function: Any = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    signature, kind = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
    shown = [inspect.Parameter(each.name, kind, default=each.default) for each in fields(PredictionOptions)[1:]]
    function.__signature__ = signature.replace(parameters=[*list(signature.parameters.values())[:-1], *shown])
    # python -OO strips docstrings
    text = inspect.cleandoc(PredictionOptions.__doc__ or "").partition("----------\n")[2]
    entry = "model, **options\n    As in `PredictionOptions`."
    target.__doc__ = target.__doc__ and inspect.cleandoc(target.__doc__).replace(entry, text)
    return target
