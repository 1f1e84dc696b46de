"""A network's table for people: its layers with their connections."""

from __future__ import annotations

from rewire._format import percent
from rewire.layers.tree import Tree
from rewire.link_counts import readable
from rewire.parameters import Buffer, Parameter
from rewire.parameters.counting import connections, full_connections, held_bytes

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
        nnz, full = connections(own), full_connections(own)
        count = f"{nnz:,}/{full:,} ({percent(nnz / full, 3)})" if own else ""
        held: list[Parameter | Buffer] = [*layer.parameters().values(), *layer.buffers().values()]
        activation = layer.activation.name if own else ""
        size = readable(held_bytes(held)) if held else ""
        rows.append((f"{place} {kind}", f"{layer.n_in} -> {layer.n_out}", activation, count, size))
    nnz, full = connections(tree.parameters.values()), full_connections(tree.parameters.values())
    total = f"{nnz:,}/{full:,} ({percent(nnz / full, 3)})"
    size = readable(held_bytes([*tree.parameters.values(), *tree.buffers.values()]))
    rows.append(("all", f"{tree.row[0].n_in} -> {tree.row[-1].n_out}", "", total, size))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.ljust(w) for c, w in zip(row[:3], widths[:3], strict=True)]
        cells += [c.rjust(w) for c, w in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    rule = "-" * max(len(line) for line in lines)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
