"""Models by name: folders with ``card.json`` and the weight files that it names, some of them bundled."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .._utils.files import atomic_path
from ..exceptions import ModelError, ModelIntegrityError, UnknownModelError
from .base_card import Card
from .card import ModelCard, NetworkCard
from .fof_card import FOF

DEFAULT_MODEL = "planck-v5"
AMPLITUDE_MODEL = "amplitude-v1"
"""Bundled model for many amplitudes, hence for several redshifts."""
DEFAULT_MODELS = {"positions": DEFAULT_MODEL, "pseudo-space": "planck-v4", "watershed": "watershed-v1"}
"""Default model of each method of separating haloes; the first method is the default."""
METHOD_NAMES = (*DEFAULT_MODELS, FOF)
"""Methods of finding haloes; friends of friends has no model."""
CARD_NAME = "card.json"
LARGEST_CARD = 1 << 24
"""Largest size of a card, bytes; the bundled cards have some ten thousand."""
_BUNDLED = Path(__file__).parents[1] / "data" / "models"


def available() -> list[str]:
    """Names of the bundled models, sorted.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from yt_protohalos.models import registry
    >>> "planck-v5" in registry.available()
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
        There is no such bundled model and no such folder.
    ModelError
        The card is not valid.

    Examples
    --------
    >>> from yt_protohalos.models import registry
    >>> card, folder = registry.load_card("planck-v5")
    >>> card.name
    'planck-v5'
    """
    name = str(name_or_path)
    folder = _BUNDLED / name if name in available() else Path(name_or_path).expanduser()
    path = folder / CARD_NAME
    if not path.is_file():
        raise UnknownModelError(name, available())
    try:
        if path.stat().st_size > LARGEST_CARD:
            raise ModelError(f"the file has over {LARGEST_CARD} bytes, too many for a model card")
        return ModelCard.from_json(path.read_text("utf-8")), folder
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
    >>> card, folder = registry.load_card("planck-v5")
    >>> copy = shutil.copytree(folder, "my_model")
    >>> registry.write_card(card, copy).name
    'card.json'
    """
    verify(card, folder)
    path = Path(folder) / CARD_NAME
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
    """Choose the model by its name, or by the method of separating haloes.

    Parameters
    ----------
    model : str or path, optional
        Name of a bundled model or folder of one.
    method : {"positions", "pseudo-space", "watershed"}, optional

    Returns
    -------
    str or path
        The model that is named, else the default model of the method, else that of the package.

    Raises
    ------
    ModelError
        The method has no model, or the model uses another one.
    UnknownModelError
        There is no such model.

    Examples
    --------
    >>> from yt_protohalos.models.registry import choose_model
    >>> choose_model(None, "watershed")
    'watershed-v1'
    """
    if method is not None and method not in DEFAULT_MODELS:
        raise ModelError(f"method {method!r} has no model; use one of {', '.join(DEFAULT_MODELS)}")
    if model is None:
        return DEFAULT_MODEL if method is None else DEFAULT_MODELS[method]
    if method is not None:
        check_method(load_card(model)[0], method)
    return model


def check_method(card: Card, method: str) -> None:
    """Raise `ModelError` unless a model separates haloes by a method."""
    if card.method != method:
        other = f", or use model {DEFAULT_MODELS[method]!r}" if method in DEFAULT_MODELS else ""
        raise ModelError(
            f"model {card.name!r} has method {card.method!r}, not {method!r}; leave one of the two out{other}"
        )


def weights_folder(network: NetworkCard, folder: str | Path) -> Path:
    """Folder of a network's weight file: that of its card, or of the bundled model that the card names."""
    if network.model and network.model not in available():
        raise ModelIntegrityError(
            f"weights {network.weights} are those of model {network.model!r}, which is not among the bundled ones, "
            f"{', '.join(available())}; use a version of yt_protohalos that has it"
        )
    return _BUNDLED / network.model if network.model else Path(folder)


def verify(card: ModelCard, folder: str | Path) -> None:
    """Check that every weight file exists and has the SHA-256 that the card states.

    Parameters
    ----------
    card : ModelCard
    folder : path
        Where the weight files are.

    Raises
    ------
    ModelIntegrityError
        A file is missing, is a link out of the model's folder, or has another SHA-256.

    Examples
    --------
    >>> from yt_protohalos.models import registry
    >>> registry.verify(*registry.load_card("planck-v5"))
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
