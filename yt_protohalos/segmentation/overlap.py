"""Overlap graph of the labels of both lattices' cores (López-Cano et al. 2024, appendix D (iv)).

It is kept as arrays because a box of 1024^3 sites has some 10^7 labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import networkx
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import h5py

LATTICES = ("a", "b")


@dataclass(frozen=True, eq=False)
class OverlapGraph:
    """Crop labels and which of them are the same object.

    node : (N,), crop labels in use, those of lattice a first, ascending
    size, in_b, label : (N,), their sites, true in lattice b, and the protohalo that each became; 0 for none
    edge : (E, 2), labels of lattice a and b that are one object
    iou : (E,), their largest intersection over union in an octant, not below the threshold
    """

    node: NDArray[np.int32]
    size: NDArray[np.int64]
    in_b: NDArray[np.bool_]
    edge: NDArray[np.int32]
    iou: NDArray[np.float64]
    label: NDArray[np.int32]

    @classmethod
    def empty(cls) -> OverlapGraph:
        """Graph without nodes."""
        none = np.empty(0, dtype=np.int32)
        return cls(none, none.astype(np.int64), none.astype(bool), none.reshape(0, 2), none.astype(float), none)

    def labelled(self, final: NDArray[np.integer]) -> OverlapGraph:
        """Copy with the protohalo of each crop label; `final` is indexed by crop label."""
        return replace(self, label=final[self.node].astype(np.int32))

    def to_networkx(self) -> networkx.Graph:
        """Graph of nodes with ``size``, ``lattice`` ("a" or "b") and ``label``, and edges with ``iou``.

        It takes some 500 bytes per node, which is too much for a box of 1024^3 sites.
        """
        graph = networkx.Graph()
        columns = (column.tolist() for column in (self.node, self.size, self.in_b, self.label))
        graph.add_nodes_from(
            (node, {"size": size, "lattice": LATTICES[in_b], "label": label})
            for node, size, in_b, label in zip(*columns, strict=True)
        )
        graph.add_edges_from(
            (a, b, {"iou": iou}) for (a, b), iou in zip(self.edge.tolist(), self.iou.tolist(), strict=True)
        )
        return graph

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays as `write` stores them, at most."""
        return 25 * len(self.node) + 24 * len(self.edge)

    def write(self, group: h5py.Group) -> None:
        """Write the arrays into an HDF5 group."""
        group["node"] = self.node.astype(np.int64)
        group["node_size"] = self.size
        group["node_lattice"] = np.array(LATTICES, dtype="S1")[self.in_b.astype(np.intp)]
        group["node_label"] = self.label.astype(np.int64)
        group["edge"] = self.edge.astype(np.int64)
        group["edge_iou"] = self.iou

    @classmethod
    def read(cls, group: h5py.Group) -> OverlapGraph:
        """Read what `write` wrote."""
        return cls(
            node=group["node"][()].astype(np.int32),
            size=group["node_size"][()],
            in_b=group["node_lattice"][()] == LATTICES[1].encode(),
            edge=group["edge"][()].astype(np.int32).reshape(-1, 2),
            iou=group["edge_iou"][()],
            label=group["node_label"][()].astype(np.int32),
        )
