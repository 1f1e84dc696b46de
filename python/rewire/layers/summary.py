"""A network's table for people: its layers with their connections."""

from __future__ import annotations

from rewire._format import percent
from rewire.layers.tree import Tree
from rewire.link_counts import readable
from rewire.parameters import SparseParameter

__all__ = ["table"]


def table(tree: Tree) -> str:
    """Layers, shapes, activations, connections and bytes, a line each, and a last one for all."""
    rows = [("layer", "shape", "activation", "connections", "bytes")]
    for name, layer in tree.layers.items():
        place = name.removeprefix("layers.")
        if not layer.connects:
            rows.append((f"{place} {layer!r}", "", "", "", ""))
            continue
        groups = {q.group for q in layer.parameters().values() if isinstance(q, SparseParameter)} - {1}
        kind = " x".join([type(layer).__name__, *map(str, sorted(groups))])
        own = [q for q in layer.parameters().values() if q.connects]
        nnz, full = sum(q.size for q in own), sum(q.shape[0] * q.shape[1] for q in own)
        count = f"{nnz:,}/{full:,} ({percent(nnz / full, 3)})"
        size = readable(sum(q.nbytes for q in layer.parameters().values()))
        rows.append(
            (f"{place} {kind}", f"{layer.n_in} -> {layer.n_out}", layer.activation.name, count, size)
        )
    nnz, full = sum(layer.nnz for layer in tree.row), sum(layer.full for layer in tree.row)
    total = f"{nnz:,}/{full:,} ({percent(nnz / full, 3)})"
    size = readable(sum(layer.nbytes for layer in tree.row))
    rows.append(("all", f"{tree.row[0].n_in} -> {tree.row[-1].n_out}", "", total, size))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.ljust(w) for c, w in zip(row[:3], widths[:3], strict=True)]
        cells += [c.rjust(w) for c, w in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    rule = "-" * max(len(line) for line in lines)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
