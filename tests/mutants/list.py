"""Ways to get the store wrong: one line each, of the kind that slips through a review.

`tests/test_mutants.py` applies each to a copy of ``sparse_core`` and expects the C tests to
fail. ``original`` must stand exactly once in ``file``, so a mutant whose line has been rewritten
is reported, not forgotten.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One broken line."""

    name: str
    file: str
    original: str
    broken: str


MUTANTS = [
    # --- the pool and its windows
    Mutant("window-handed-out-twice", "store.c", "    s->pool[c] = w.next;\n", ""),
    Mutant(
        "window-too-small",
        "store.c",
        "read_window(s, s->pool[c]).cap < need",
        "read_window(s, s->pool[c]).cap < 0",
    ),
    Mutant(
        "split-window-overlaps",
        "store.c",
        "rw_window_give(s, start + need, w.cap - need)",
        "rw_window_give(s, start + need - 1, w.cap - need)",
    ),
    Mutant(
        "old-window-not-returned",
        "edit.c",
        "        if (to != from)\n            rw_window_give(s, from, cap);\n",
        "",
    ),
    Mutant(
        "no-memory-for-the-new-window",
        "edit.c",
        "else if (!st && s->top + fresh > s->arena)",
        "else if (!st && s->top > s->arena)",
    ),
    Mutant(
        "window-wider-than-the-layer",
        "store.c",
        "return (int32_t)rw_min64(room, s->n_in);",
        "return (int32_t)room;",
    ),
    Mutant(
        "slot-offset-in-32-bits", "store.c", "int64_t start = s->top;\n", "int64_t start = (int32_t)s->top;\n"
    ),
    # --- finding and merging
    Mutant("find-steps-over", "store.c", "if (row[mid] < source)", "if (row[mid] <= source)"),
    Mutant("merge-drops-last", "edit.c", "bool stays = k < len,", "bool stays = k + 1 < len,"),
    Mutant("merge-order", "edit.c", "p->ins_source[i] < old[k]", "p->ins_source[i] > old[k]"),
    Mutant(
        "field-stays-behind",
        "edit.c",
        "for (int32_t f = 0; f < s->n_fields; f++)\n        rewrite_field",
        "for (int32_t f = 0; f < 1; f++)\n        rewrite_field",
    ),
    Mutant(
        "slide-forgets-fields",
        "edit.c",
        "memmove(data + (size_t)to * bytes, data + (size_t)from * bytes, (size_t)len * bytes);",
        "(void)data, (void)bytes;",
    ),
    Mutant(
        "births-not-applied",
        "edit.c",
        "                rw_field_bear(f, to + k, 1);\n",
        "                (void)f;\n",
    ),
    Mutant("newborn-inherits", "edit.c", "int64_t born = t->i + ~e->map[k];", "int64_t born = t->i;"),
    Mutant(
        "repack-overwrites-unread-rows",
        "edit.c",
        "end = rw_max64(end, written + unread);",
        "(void)(written + unread);",
    ),
    Mutant(
        "repack-in-wrong-order", "edit.c", "if (s->start[g] < previous)", "if (s->start[g] < 0 && previous)"
    ),
    Mutant(
        "slots-miscounted", "edit.c", "s->slots += e->p->n_ins - e->p->n_del;", "s->slots += e->p->n_ins;"
    ),
    Mutant("generation-not-bumped", "edit.c", "        s->generation++;\n", ""),
    Mutant("mirror-not-invalidated", "edit.c", "        s->mirror.valid = false;\n", ""),
    Mutant("pins-ignored", "edit.c", "    if (s->pins)\n        return RW_EPINNED;\n", ""),
    Mutant(
        "padding-not-zeroed",
        "edit.c",
        "    rw_weights_clip(s, t->group, to, t->new_len); /* whatever the plan said */\n",
        "",
    ),
    # --- compaction, clones, fields, memory
    Mutant("trim-cuts-into-windows", "edit.c", "rw_arena_trim(s, top);", "rw_arena_trim(s, top - top / 8);"),
    Mutant("pack-forgets-a-field", "store.c", "f < from->n_fields; f++", "f < from->n_fields - 1; f++"),
    Mutant(
        "compaction-keeps-generation",
        "store.c",
        "s->generation = old.generation + 1;",
        "s->generation = old.generation;",
    ),
    Mutant(
        "overflow-check-removed",
        "store.c",
        "if ((uint64_t)slots > SIZE_MAX || !rw_mul_size((size_t)slots, bytes, &want))\n        return false;",
        "want = (size_t)slots * bytes;",
    ),
    Mutant(
        "nnz-counts-padding",
        "store.c",
        "return s->slots * s->group - missing * s->len[last];",
        "return s->slots * s->group + 0 * missing;",
    ),
    Mutant(
        "resize-frees-what-it-could-not-replace",
        "mem.c",
        "    if (!fresh)\n        return NULL;\n    if (block)",
        "    if (!fresh) {\n        rw_free(block, old_bytes);\n        return NULL;\n    }\n    if (block)",
    ),
    Mutant(
        "failed-reserve-leaks",
        "edit.c",
        "        rw_edit_cancel(e);\n        return st;\n",
        "        return st;\n",
    ),
    # --- plans
    Mutant(
        "plan-accepts-duplicates",
        "plan.c",
        "group[i] && source[i - 1] < source[i]",
        "group[i] && source[i - 1] <= source[i]",
    ),
    Mutant(
        "plan-accepts-connected-places",
        "plan.c",
        "if (k >= 0 && !removed(p, &d, p->ins_group[i], k))",
        "if (k >= 0 && !p->n_del)",
    ),
    Mutant(
        "plan-removes-twice", "plan.c", "&& p->del_position[i - 1] < k))", "&& p->del_position[i - 1] <= k))"
    ),
    Mutant(
        "plan-never-stale",
        "plan.c",
        "if (p->generation != s->generation)",
        "if (p->generation > s->generation)",
    ),
    Mutant(
        "plan-names-the-wrong-pair",
        "plan.c",
        "st = rw_fault_at(RW_ENOENT, at, del_group[i], del_source[i]);",
        "st = rw_fault_at(RW_ENOENT, at, del_group[0], del_source[0]);",
    ),
    Mutant(
        "fan-in-before-the-plan",
        "plan.c",
        " - (int32_t)(*d - first_d) + (int32_t)(*i - first_i);",
        " + 0 * (int32_t)(first_d + first_i);",
    ),
    Mutant(
        "rows-of-a-group-share-a-draw",
        "plan.c",
        "(uint64_t)g * (uint64_t)s->group + (uint64_t)r;",
        "(uint64_t)g * (uint64_t)s->group;",
    ),
    # --- flat arrays and the mirror
    Mutant("load-lets-a-source-out", "csr.c", "sources[k] >= s->n_in", "sources[k] > s->n_in"),
    Mutant(
        "load-trusts-indptr",
        "csr.c",
        "if (indptr[g + 1] < indptr[g] || indptr[g + 1] - indptr[g] > s->n_in)",
        "if (indptr[g + 1] < indptr[g])",
    ),
    Mutant(
        "load-keeps-padding",
        "csr.c",
        "        rw_weights_clip(s, last, s->start[last], s->len[last]);\n",
        "        (void)last;\n",
    ),
    Mutant("mirror-starts-shifted", "mirror.c", "    m->start[0] = 0;\n", ""),
    Mutant("mirror-room-not-checked", "mirror.c", "if (m->start && m->room >= s->slots)", "if (m->start)"),
    # --- growing
    Mutant(
        "hypergeometric-off-by-one",
        "topology.c",
        "(d - x) / (t - m - d + x + 1)",
        "(d - x) / (t - m - d + x + 2)",
    ),
    Mutant(
        "hypergeometric-cuts-a-tail",
        "topology.c",
        "right < high || left > low;",
        "right < high && left > low;",
    ),
    Mutant("split-forgets-what-is-gone", "topology.c", "        empty -= here;\n", ""),
    Mutant(
        "split-draws-once-for-all", "topology.c", "RW_DRAW_SPLIT, (uint64_t)g, 0)", "RW_DRAW_SPLIT, 0, 0)"
    ),
    Mutant(
        "last-place-never-drawn",
        "topology.c",
        "rw_seq_below(seq, (uint64_t)bound);",
        "rw_seq_below(seq, (uint64_t)(bound - (bound > n)));",
    ),
    Mutant(
        "emptied-places-stay-taken",
        "topology.c",
        "s->n_in - s->len[g] + gone, &seq",
        "s->n_in - s->len[g] + 0 * gone, &seq",
    ),
    Mutant(
        "ranks-land-one-off", "topology.c", "if (row[k] - kept > rank[i])", "if (row[k] - kept >= rank[i])"
    ),
    # --- pruning
    Mutant("zero-is-negative", "rewire.c", "pr->by_sign && v < 0)", "pr->by_sign && v <= 0)"),
    Mutant(
        "ties-by-position",
        "rewire.c",
        "(uint64_t)one->group, source).v[0];",
        "(uint64_t)one->group, source - source + (uint64_t)one->position).v[0];",
    ),
    Mutant(
        "ties-in-store-order",
        "rewire.c",
        "(uint64_t)one->group, source).v[0];",
        "(uint64_t)one->group, source).v[0] & 0;",
    ),
    Mutant("counts-rounded-up", "rewire.c", "(int64_t)floor(zeta", "(int64_t)ceil(zeta"),
    Mutant("nan-goes-first", "rewire.c", "return UINT64_MAX;", "return 0;"),
    Mutant("sign-not-taken-off", "rewire.c", "sum += fabs(v);", "sum += v * v < 0 ? 0 : v;"),
    Mutant(
        "threshold-one-further",
        "rewire.c",
        "c->last = c->few[c->rest - 1];",
        "c->last = c->few[c->rest - (c->rest == c->n_few)];",
    ),
    Mutant(
        "threshold-digit-too-high",
        "rewire.c",
        "while (below + c->bins[bin] < c->rest)",
        "while (below + c->bins[bin] <= c->rest && bin < BINS - 1)",
    ),
    # --- random numbers
    Mutant("philox-nine-rounds", "rng.h", "round < 10", "round < 9"),
    Mutant("bounded-draws-biased", "rng.h", "while (lo < floor)", "while (floor > lo + bound)"),
]
