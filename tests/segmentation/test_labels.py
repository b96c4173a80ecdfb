"""Sizes of labels."""

from __future__ import annotations

import numpy as np
import pytest

from yt_protohalos.segmentation.labels import label_sizes


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int32, np.int64])
def test_sizes_of_labels_of_every_type_are_counts(dtype) -> None:
    labels = np.random.default_rng(1).integers(0, 2, size=(40, 40, 40)).astype(dtype)
    sizes = label_sizes(labels, 4)
    assert sizes.dtype == np.int64
    assert sizes.tolist() == [int((labels == 0).sum()), int((labels == 1).sum()), 0, 0]


def test_few_large_numbers_are_counted_once_each() -> None:
    labels = np.zeros((40, 40, 40), dtype=np.int64)
    labels[3], labels[-1] = 63_000, 5
    sizes = label_sizes(labels)
    assert len(sizes) == 63_001 and sizes[63_000] == sizes[5] == 1600 and sizes.sum() == labels.size
