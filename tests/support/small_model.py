"""A model of the real architecture but tiny and untrained, so that code that names a model runs in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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


def write_small_bundle(folder: Path) -> Path:
    """Write small models under the names of the bundled ones that see separate haloes; returns the folder."""
    from yt_protohalos.models.registry import AMPLITUDE_MODEL, DEFAULT_MODEL, DEFAULT_MODELS

    # all see the linear field alone, as only planck-v2 does
    for name in (DEFAULT_MODEL, "planck-v2"):
        write_small_model(folder / name, name=name)
    write_small_model(folder / AMPLITUDE_MODEL, name=AMPLITUDE_MODEL, amplitude_range=(0.58, 1.08))
    flooded = DEFAULT_MODELS["watershed"]
    thresholds = {"foreground": 0.5, "contour": 0.5}
    write_small_model(folder / flooded, name=flooded, separates="contour", clustering=thresholds)
    return folder
