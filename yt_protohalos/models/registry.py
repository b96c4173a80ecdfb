"""Where models are found and how their weight files are verified.

A model is a folder with ``card.json`` and the weight files it names: bundled in this package, or anywhere.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .._utils.files import atomic_path
from ..exceptions import ModelError, ModelIntegrityError, UnknownModelError
from .card import ModelCard, NetworkCard

DEFAULT_MODEL = "planck-v4"
AMPLITUDE_MODEL = "amplitude-v1"
"""Bundled model for many amplitudes, hence for several redshifts."""
DEFAULT_MODELS = {"clustering": DEFAULT_MODEL, "watershed": "watershed-v1"}
"""Bundled model by the method with which it separates haloes."""
CARD_NAME = "card.json"
LARGEST_CARD = 1 << 24
"""Bytes of a card; those of the bundled models have some ten thousand."""
_BUNDLED = Path(__file__).parents[1] / "data" / "models"


def available() -> list[str]:
    """Names of the bundled models, sorted.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from yt_protohalos.models import registry
    >>> "planck-v4" in registry.available()
    True
    """
    return sorted(path.parent.name for path in _BUNDLED.glob(f"*/{CARD_NAME}"))


def load_card(name_or_path: str | Path) -> tuple[ModelCard, Path]:
    """Read the card of a bundled model or of a folder.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a bundled model, or a folder with ``card.json``.

    Returns
    -------
    card : ModelCard
    folder : Path
        Where the weight files are.

    Raises
    ------
    UnknownModelError
        Neither a bundled name nor such a folder.
    ModelError
        The card is not valid.

    Examples
    --------
    >>> from yt_protohalos.models import registry
    >>> card, folder = registry.load_card("planck-v4")
    >>> card.name
    'planck-v4'
    """
    names = available()
    if str(name_or_path) in names:
        folder = _BUNDLED / str(name_or_path)
    else:
        folder = Path(name_or_path).expanduser()
    path = folder / CARD_NAME
    if not path.is_file():
        raise UnknownModelError(str(name_or_path), names)
    try:
        with path.open("rb") as stream:
            text = stream.read(LARGEST_CARD + 1)
        if len(text) > LARGEST_CARD:
            raise ModelError(f"model card has over {LARGEST_CARD} bytes; it is none")
        return ModelCard.from_json(text.decode("utf-8")), folder
    except (ModelError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}; restore the file, or reinstall the model") from error


def write_card(card: ModelCard, folder: str | Path) -> Path:
    """Write ``card.json`` after verifying the weight files.

    Parameters
    ----------
    card : ModelCard
    folder : path
        Where the weight files are.

    Returns
    -------
    Path
        Of the card.

    Raises
    ------
    ModelIntegrityError
        A file is missing, or its SHA-256 is not the card's.

    Examples
    --------
    >>> import shutil
    >>> from yt_protohalos.models import registry
    >>> card, folder = registry.load_card("planck-v4")
    >>> copy = shutil.copytree(folder, "my_model")
    >>> registry.write_card(card, copy).name
    'card.json'
    """
    folder = Path(folder)
    verify(card, folder)
    path = folder / CARD_NAME
    with atomic_path(path) as partial:
        partial.write_text(card.to_json(), encoding="utf-8")
    return path


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def choose_model(model: str | Path | None, method: str | None) -> str | Path:
    """Model that a user means who names a model, a method, both or neither.

    Parameters
    ----------
    model : str or path, optional
        Name of a bundled model or folder of one.
    method : {"clustering", "watershed"}, optional

    Returns
    -------
    str or path
        The model named, else the default of the method.

    Raises
    ------
    ModelError
        The method is unknown, or the model uses another.
    UnknownModelError
        No such model is bundled.

    Examples
    --------
    >>> from yt_protohalos.models.registry import choose_model
    >>> choose_model(None, "watershed")
    'watershed-v1'
    """
    if method is None:
        return DEFAULT_MODEL if model is None else model
    if method not in DEFAULT_MODELS:
        raise ModelError(f"method {method!r} is unknown; use one of {', '.join(DEFAULT_MODELS)}")
    if model is None:
        return DEFAULT_MODELS[method]
    check_method(load_card(model)[0], method)
    return model


def check_method(card: ModelCard, method: str) -> None:
    """Raise `ModelError` unless a model separates haloes by a method."""
    if card.method != method:
        raise ModelError(
            f"model {card.name!r} separates protohaloes by {card.method}, not by {method!r}; leave one of the two out, "
            f"or use model {DEFAULT_MODELS[method]!r}"
        )


def weights_folder(network: NetworkCard, folder: str | Path) -> Path:
    """Folder of a network's weight file: that of its card, or of the bundled model that the card names.

    Raises
    ------
    ModelIntegrityError
        No such model is bundled.
    """
    if not network.model:
        return Path(folder)
    names = available()
    if network.model not in names:
        raise ModelIntegrityError(
            f"weights {network.weights} are those of model {network.model!r}, which is not among the bundled ones, "
            f"{', '.join(names)}; use a version of yt_protohalos that has it"
        )
    return _BUNDLED / network.model


def verify(card: ModelCard, folder: str | Path) -> None:
    """Check that all weight files are there and are the card's.

    Parameters
    ----------
    card : ModelCard
    folder : path
        Where the weight files are.

    Raises
    ------
    ModelIntegrityError
        A file is missing, or its SHA-256 is not the card's.

    Examples
    --------
    >>> from yt_protohalos.models import registry
    >>> registry.verify(*registry.load_card("planck-v4"))
    """
    for role, network in card.networks:
        home = weights_folder(network, folder)
        path = home / network.weights
        if not path.is_file():
            raise ModelIntegrityError(f"{role} weights {path} of model {card.name!r} are missing; reinstall the model")
        if path.resolve().parent != home.resolve():
            raise ModelIntegrityError(
                f"{role} weights {path} of model {card.name!r} are a link to {path.resolve()}, outside the model's "
                "folder; put the file itself there"
            )
        found = file_sha256(path)
        if found != network.sha256:
            raise ModelIntegrityError(
                f"{role} weights {path} have SHA-256 {found}, but the card of model {card.name!r} says "
                f"{network.sha256}; the file was altered or damaged, reinstall the model"
            )
