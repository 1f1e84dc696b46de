"""A network's table for people: its layers with their connections."""

from __future__ import annotations

from rewire._format import percent
from rewire.layers.tree import Tree
from rewire.link_counts import readable

__all__ = ["table"]


def table(tree: Tree) -> str:
    """Layers, shapes, activations, connections and bytes, a line each, and a last one for all."""
    rows = [("layer", "shape", "activation", "connections", "bytes")]
    for name, layer in tree.layers.items():
        place = name.removeprefix("layers.")
        if not (layer.parameters() or layer.buffers() or layer.children()):
            rows.append((f"{place} {layer!r}", "", "", "", ""))
            continue
        own = [q for q in layer.parameters().values() if q.connects]
        kind = " x".join([type(layer).__name__, *map(str, sorted({q.group for q in own} - {1}))])
        nnz, full = sum(q.size for q in own), sum(q.shape[0] * q.shape[1] for q in own)
        count = f"{nnz:,}/{full:,} ({percent(nnz / full, 3)})" if own else ""
        held = [q.nbytes for q in layer.parameters().values()]
        held += [buffer.nbytes for buffer in layer.buffers().values()]
        activation = layer.activation.name if own else ""
        size = readable(sum(held)) if held else ""
        rows.append((f"{place} {kind}", f"{layer.n_in} -> {layer.n_out}", activation, count, size))
    weights = [q for q in tree.parameters.values() if q.connects]
    nnz, full = sum(q.size for q in weights), sum(q.shape[0] * q.shape[1] for q in weights)
    total = f"{nnz:,}/{full:,} ({percent(nnz / full, 3)})"
    held = [part.nbytes for part in tree.parameters.values()] + [b.nbytes for b in tree.buffers.values()]
    rows.append(("all", f"{tree.row[0].n_in} -> {tree.row[-1].n_out}", "", total, readable(sum(held))))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.ljust(w) for c, w in zip(row[:3], widths[:3], strict=True)]
        cells += [c.rjust(w) for c, w in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    rule = "-" * max(len(line) for line in lines)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
