"""Models of the real architectures but tiny and untrained, so that code that names a model runs in seconds."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from position_standins import CHANNELS, position_card
from standins import make_card, make_network

from yt_protohalos.initial_conditions.generate import generate_initial_conditions
from yt_protohalos.models.registry import file_sha256, write_card

SIDE, MARGIN, FILTERS = 48, 8, (2, 4)
SPACING = 50 / 256


def write_small_model(folder: Path, name: str = "small", separates: str = "instance", **changes: Any) -> Path:
    """Write card and weights of a random model that calls about half of all sites protohalo sites.

    folder : where, made if it does not exist
    separates : head of the network that separates haloes, instance or contour
    changes : values of the card
    returns : folder
    """
    import keras

    from yt_protohalos.models.channels import FIELD_CHANNELS, network_input
    from yt_protohalos.models.vnet import build_vnet

    keras.utils.set_random_seed(3)
    folder.mkdir(parents=True, exist_ok=True)
    normalisation = {"delta": 5.0, "phi": 10.0}
    cards = {}
    for head, channels in (("semantic", 2), (separates, 5 if separates == "instance" else 2)):
        architecture = {"side": SIDE, "margin": MARGIN, "in_channels": channels, "head": head, "filters": FILTERS}
        network = build_vnet(**architecture)
        network.save_weights(folder / f"{head}.weights.h5")
        cards[head] = make_network(
            head,
            architecture=architecture,
            normalisation=normalisation,
            sha256=file_sha256(folder / f"{head}.weights.h5"),
        )
        if head == "semantic":
            field = generate_initial_conditions(SIDE, SIDE * SPACING, seed=5)
            channels_in = network_input({"delta": field.delta, "phi": field.phi}, FIELD_CHANNELS, normalisation)
            probability = np.clip(np.asarray(network(channels_in[None])), 1e-6, 1 - 1e-6)
            intercept = -float(np.median(np.log(probability / (1 - probability))))
    calibration = {"slope": 1.0, "intercept": intercept}
    networks = {"semantic": cards["semantic"], "instance": cards[separates]}
    write_card(make_card(SIDE, MARGIN, core=32, name=name, calibration=calibration, **networks, **changes), folder)
    return folder


def write_small_position_model(folder: Path, name: str = "small", **changes: Any) -> Path:
    """Write card and weights of a position model that finds the friends-of-friends groups of the evolved field.

    The inner layers are random; the last one takes the size of a site's group for the logit of its membership, and the
    vector to the centre of the group for its displacement. Sites of larger groups are likelier members, and groups have
    sites outside the mask too.
    """
    import keras

    from yt_protohalos.models.channels import GROUP_CENTRE
    from yt_protohalos.models.position_network import OUTPUTS, build_position_network

    keras.utils.set_random_seed(3)
    folder.mkdir(parents=True, exist_ok=True)
    card = position_card(name=name)
    network = build_position_network(None, len(CHANNELS), margin=MARGIN, filters=FILTERS)
    kernel = np.zeros((1, 1, 1, FILTERS[0] + len(CHANNELS), OUTPUTS), dtype=np.float32)
    # the input follows the features; log10(size) / 2 is 0.65 for the smallest group
    by_channel = kernel[0, 0, 0, FILTERS[0] :]
    by_channel[CHANNELS.index("group_size"), :2] = 20.0, 40.0
    by_channel[[CHANNELS.index(channel) for channel in GROUP_CENTRE], [2, 3, 4]] = 1.0
    bias = np.array([-20.0, -26.0, 0.0, 0.0, 0.0], dtype=np.float32)
    network.get_layer("positions").set_weights([kernel, bias])
    network.save_weights(folder / card.semantic.weights)
    architecture = {**card.semantic.architecture, "side": SIDE, "margin": MARGIN, "filters": FILTERS}
    sha256 = file_sha256(folder / card.semantic.weights)
    semantic = replace(card.semantic, architecture=architecture, sha256=sha256)
    write_card(replace(card, semantic=semantic, **{"core": SIDE - 2 * MARGIN, **changes}), folder)
    return folder


def write_small_bundle(folder: Path) -> Path:
    """Write small models under the names of the bundled ones that separate haloes; returns the folder."""
    from yt_protohalos.models.registry import AMPLITUDE_MODEL, DEFAULT_MODELS, load_card

    write_small_position_model(folder / DEFAULT_MODELS["positions"], name=DEFAULT_MODELS["positions"])
    # those with an embedding see the linear field alone, as of the bundled ones only planck-v2 does
    first = write_small_model(folder / DEFAULT_MODELS["pseudo-space"], name=DEFAULT_MODELS["pseudo-space"])
    card, _ = load_card(first)
    changes: dict[str, dict[str, Any]] = {"planck-v2": {}, AMPLITUDE_MODEL: {"amplitude_range": (0.58, 1.08)}}
    for name, changed in changes.items():
        shutil.copytree(first, folder / name)
        write_card(replace(card, name=name, **changed), folder / name)
    flooded = DEFAULT_MODELS["watershed"]
    thresholds = {"foreground": 0.5, "contour": 0.5}
    write_small_model(folder / flooded, name=flooded, separates="contour", clustering=thresholds)
    return folder
