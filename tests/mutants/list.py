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
    hangs: bool = False  # the program does not end, and no test gets to say so


MUTANTS = [
    # --- the pool and its windows
    Mutant("window-handed-out-twice", "store/store.c", "    s->pool[c] = w.next;\n", ""),
    Mutant(
        "window-too-small",
        "store/store.c",
        "read_window(s, s->pool[c]).cap < need",
        "read_window(s, s->pool[c]).cap < 0",
    ),
    Mutant(
        "split-window-overlaps",
        "store/store.c",
        "rw_window_give(s, start + need, w.cap - need)",
        "rw_window_give(s, start + need - 1, w.cap - need)",
    ),
    Mutant(
        "old-window-not-returned",
        "store/edit.c",
        "        if (to != from)\n            rw_window_give(s, from, cap);\n",
        "",
    ),
    Mutant(
        "no-memory-for-the-new-window",
        "store/edit.c",
        "else if (!st && s->top + fresh > s->arena)",
        "else if (!st && s->top > s->arena)",
    ),
    Mutant(
        "window-wider-than-the-layer",
        "store/store.c",
        "return (int32_t)rw_min64(room, s->n_in);",
        "return (int32_t)room;",
    ),
    Mutant(
        "slot-offset-in-32-bits",
        "store/store.c",
        "int64_t start = s->top;\n",
        "int64_t start = (int32_t)s->top;\n",
    ),
    # --- finding and merging
    Mutant(
        "find-steps-over",
        "store/store.c",
        "rw_count_up_to(row, s->len[g], source - 1)",
        "rw_count_up_to(row, s->len[g], source)",
    ),
    Mutant(
        "merge-drops-last",
        "store/edit.c",
        "for (int32_t k = 0; k < len; k++) {\n        kept[stay]",
        "for (int32_t k = 0; k + 1 < len; k++) {\n        kept[stay]",
    ),
    Mutant(
        "merge-order",
        "store/edit.c",
        "born[i] = i + rw_count_up_to",
        "born[i] = rw_count_up_to",
    ),
    Mutant(
        "field-stays-behind",
        "store/edit.c",
        "a < n_arrays(s); a++) {\n        size_t bytes = array_bytes(s, a);\n        char *dst",
        "a < n_arrays(s) - 1; a++) {\n        size_t bytes = array_bytes(s, a);\n        char *dst",
    ),
    Mutant(
        "slide-forgets-fields",
        "store/edit.c",
        "a < n_arrays(s); a++) {\n        size_t bytes = array_bytes(s, a);\n        char *data",
        "a < 1; a++) {\n        size_t bytes = array_bytes(s, a);\n        char *data",
    ),
    Mutant(
        "births-not-applied",
        "store/edit.c",
        "rw_field_bear(&one, 0, 1);",
        "(void)one;",
    ),
    Mutant(
        "newborn-inherits",
        "store/edit.c",
        "born ? born : e->birth[a - 1],",
        "born ? born : row,",
    ),
    Mutant(
        "repack-overwrites-unread-rows",
        "store/edit.c",
        "e->shift = rw_max64(e->shift, behind.to - first_slot(e, unread));",
        "(void)first_slot(e, unread);",
    ),
    Mutant(
        "slots-miscounted",
        "store/edit.c",
        "s->slots += e->p->n_ins - e->p->n_del;",
        "s->slots += e->p->n_ins;",
    ),
    Mutant("generation-not-bumped", "store/edit.c", "        s->generation++;\n", ""),
    Mutant("mirror-not-invalidated", "store/edit.c", "        s->mirror.valid = false;\n", ""),
    Mutant("pins-ignored", "store/edit.c", "    if (s->pins)\n        return RW_EPINNED;\n", ""),
    Mutant(
        "padding-not-zeroed",
        "store/edit.c",
        "    rw_weights_clip(s, t->group, to, t->new_len); /* whatever weights the plan gave them */\n",
        "",
    ),
    # --- compaction, clones, fields, memory
    Mutant(
        "trim-cuts-into-windows",
        "store/edit.c",
        "rw_arena_trim(s, s->top);",
        "rw_arena_trim(s, s->top - s->top / 8);",
    ),
    Mutant(
        "nothing-is-given-back",
        "store/edit.c",
        "    e->trims = s->arena > rw_packed_slots(slots, s->n_groups);\n",
        "    (void)slots;\n",
    ),
    Mutant(
        "what-was-reserved-for-less-leaks",
        "store/edit.c",
        "        rw_free(e->smaller[a], (size_t)e->packed * array_bytes(e->s, a));\n",
        "        (void)a;\n",
    ),
    Mutant("pack-forgets-a-field", "store/store.c", "f < from->n_fields; f++", "f < from->n_fields - 1; f++"),
    Mutant(
        "compaction-keeps-generation",
        "store/store.c",
        "s->generation = old.generation + 1;",
        "s->generation = old.generation;",
    ),
    Mutant(
        "overflow-check-removed",
        "store/store.c",
        "if ((uint64_t)slots > SIZE_MAX || !rw_mul_size((size_t)slots, bytes, &want))\n        return false;",
        "want = (size_t)slots * bytes;",
    ),
    Mutant(
        "nnz-counts-padding",
        "store/store.c",
        "return s->slots * s->group - missing * s->len[last];",
        "return s->slots * s->group + 0 * missing;",
    ),
    Mutant(
        "resize-frees-what-it-could-not-replace",
        "base/mem.c",
        "    if (!fresh)\n        return NULL;\n    if (block)",
        "    if (!fresh) {\n        rw_free(block, old_bytes);\n        return NULL;\n    }\n    if (block)",
    ),
    Mutant(
        "failed-reserve-leaks",
        "store/edit.c",
        "        rw_edit_cancel(e);\n        return st;\n",
        "        return st;\n",
    ),
    # --- plans
    Mutant(
        "plan-accepts-duplicates",
        "store/plan.c",
        "group[i] && source[i - 1] < source[i]",
        "group[i] && source[i - 1] <= source[i]",
    ),
    Mutant(
        "plan-accepts-connected-places",
        "store/plan.c",
        "if (k >= 0 && !removed(p, &d, p->ins_group[i], k))",
        "if (k >= 0 && !p->n_del)",
    ),
    Mutant(
        "plan-removes-twice",
        "store/plan.c",
        "&& p->del_position[i - 1] < k))",
        "&& p->del_position[i - 1] <= k))",
    ),
    Mutant(
        "plan-never-stale",
        "store/plan.c",
        "if (p->generation != s->generation)\n        return RW_ESTALE;\n    for (int64_t i",
        "if (p->generation > s->generation)\n        return RW_ESTALE;\n    for (int64_t i",
    ),
    Mutant(
        "plan-names-the-wrong-pair",
        "store/plan.c",
        "st = rw_fault_at(RW_ENOENT, at, del_group[i], del_source[i]);",
        "st = rw_fault_at(RW_ENOENT, at, del_group[0], del_source[0]);",
    ),
    Mutant(
        "fan-in-before-the-plan",
        "store/plan.c",
        "s->len[g] - (d_end - d) + (to - from);",
        "s->len[g] + 0 * (d_end - d) + 0 * (to - from);",
    ),
    Mutant(
        "rows-of-a-group-share-a-draw",
        "store/plan.c",
        "(uint64_t)g * (uint64_t)s->group + (uint64_t)r;",
        "(uint64_t)g * (uint64_t)s->group;",
    ),
    # --- flat arrays and the mirror
    Mutant("load-lets-a-source-out", "store/csr.c", "sources[k] >= s->n_in", "sources[k] > s->n_in"),
    Mutant(
        "load-trusts-indptr",
        "store/csr.c",
        "if (indptr[g + 1] < indptr[g] || indptr[g + 1] - indptr[g] > s->n_in)",
        "if (indptr[g + 1] < indptr[g])",
    ),
    Mutant(
        "load-keeps-padding",
        "store/csr.c",
        "        rw_weights_clip(s, last, s->start[last], s->len[last]);\n",
        "        (void)last;\n",
    ),
    Mutant("mirror-starts-shifted", "store/mirror.c", "    m->start[0] = 0;\n", ""),
    Mutant(
        "mirror-room-not-checked", "store/mirror.c", "if (m->start && m->room >= s->slots)", "if (m->start)"
    ),
    Mutant(
        "mirror-keeps-its-length",
        "store/edit.c",
        "            rw_store_drop_mirror(s);\n",
        "            s->generation += 0;\n",
    ),
    # --- growing
    Mutant(
        "hypergeometric-off-by-one",
        "base/hypergeometric.c",
        "(d - x) / (t - m - d + x + 1)",
        "(d - x) / (t - m - d + x + 2)",
    ),
    Mutant(
        "hypergeometric-cuts-a-tail",
        "base/hypergeometric.c",
        "right < high || left > low;",
        "right < high && left > low;",
    ),
    Mutant(
        "split-forgets-what-is-gone",
        "rules/grow_random.c",
        "    c->empty -= x->n_places;\n",
        "    c->empty -= x->n_places / 2;\n",
    ),
    Mutant(
        "split-gives-everybody-the-mode",
        "rules/grow_random.c",
        "double u = rw_unit(rw_draw4(c->key, RW_DRAW_SPLIT, x->index, 0).v[0]);",
        "double u = 0;",
    ),
    Mutant(
        "split-draws-once-for-all",
        "rules/grow_random.c",
        "RW_DRAW_SPLIT, x->index, 0)",
        "RW_DRAW_SPLIT, 0, 0)",
    ),
    Mutant(
        "last-place-never-drawn",
        "rules/grow_random.c",
        "uint32_t wide = (uint32_t)bound,",
        "uint32_t wide = (uint32_t)(bound - (bound > n)),",
    ),
    Mutant(
        "emptied-places-stay-taken",
        "rules/grow_random.c",
        "p->store->n_in - p->store->len[group] + (int32_t)removals;",
        "p->store->n_in - p->store->len[group] + 0 * (int32_t)removals;",
    ),
    Mutant(
        "ranks-land-one-off",
        "rules/grow_random.c",
        "r + before + rw_count_up_to(below, kept, r);",
        "r + before + rw_count_up_to(below, kept, r - 1);",
    ),
    # --- growing by paths
    Mutant(
        "all-links-are-external",
        "rules/grow_paths.c",
        "d->factor[i] = w->internal[i] * w->external[n - 1 - i];",
        "d->factor[i] = w->internal[i] * w->external[n - 1];",
    ),
    Mutant(
        "the-link-to-the-end-counts",
        "rules/grow_paths.c",
        "double f = w->internal[i] * w->external[n - 1 - i];",
        "double f = w->internal[i] * w->external[n - i > 1 ? n - 2 - i : 0];",
    ),
    Mutant("a-group-keeps-its-friends", "rules/grow_paths.c", "forget ? 0 : ", ""),
    Mutant("scores-of-the-group-before", "rules/grow_paths.c", "        d->score[v] = 0;\n", ""),
    Mutant("drawn-without-luck", "rules/grow_paths.c", "if (w->sample && score > 0)", "if (false)"),
    # --- pruning
    Mutant(
        "zero-is-negative",
        "rules/prune.c",
        "(by_sign) && w[i] < 0;",
        "(by_sign) && w[i] <= 0;",
    ),
    Mutant(
        "ties-by-position",
        "rules/prune.c",
        "(uint64_t)x.group, source).v[0];",
        "(uint64_t)x.group, source - source + (uint64_t)x.position).v[0];",
    ),
    Mutant(
        "ties-in-store-order",
        "rules/prune.c",
        "(uint64_t)x.group, source).v[0];",
        "(uint64_t)x.group, source).v[0] & 0;",
        hangs=True,  # where all ties are equal, no bin of them is small enough
    ),
    Mutant("counts-rounded-up", "rules/prune.c", "(int64_t)floor(zeta", "(int64_t)ceil(zeta"),
    Mutant(
        "nan-goes-first",
        "rules/prune.c",
        "magnitude == magnitude ? bits : LAST_SCORE;",
        "magnitude == magnitude ? bits : 0;",
    ),
    Mutant(
        "sign-not-taken-off",
        "rules/prune.c",
        "sum += fabs((double)w[i * (group) + r]); ",
        "sum += (double)w[i * (group) + r];       ",
    ),
    Mutant(
        "threshold-one-further",
        "rules/prune.c",
        "i < n && i < pr->of[class].rest; i++)",
        "i < n && i + 1 < pr->of[class].rest; i++)",
    ),
    Mutant(
        "threshold-digit-too-high",
        "rules/prune.c",
        "while (below + bins[bin] < c->rest)",
        "while (below + bins[bin] < c->rest - 1)",
    ),
    Mutant(
        "ties-forgotten-where-all-share",
        "rules/prune.c",
        "c->rest == c->sharing && !ties_cut)",
        "c->rest == c->sharing)",
    ),
    # --- insertions beside removals, the best of a stream
    Mutant(
        "insertions-on-top-of-links",
        "store/plan.c",
        "    st = check_empty(p, at);\n    if (st) {\n        p->n_ins = 0;",
        "    st = RW_OK;\n    if (st) {\n        p->n_ins = 0;",
    ),
    Mutant("spared-links-come", "store/plan.c", "ins += in < out;", "ins += in <= out;"),
    Mutant("scores-below-the-threshold", "base/topk.h", "|| c->score < b->threshold.score)", ")"),
    # --- pieces, stretches, waves
    Mutant(
        "long-group-begins-anew",
        "rules/grow_random.c",
        "    c->next.rank = (int32_t)left;\n",
        "    c->next.rank = 0;\n",
    ),
    Mutant(
        "stretch-counts-from-the-group",
        "rules/grow_random.c",
        "int64_t base = -(int64_t)x.rank;",
        "int64_t base = 0;",
    ),
    Mutant(
        "repeats-stay",
        "rules/grow_random.c",
        "m += !there && (m == 0 || out[m - 1] != d->fresh[i]);",
        "m += !there;",
    ),
    Mutant("pieces-overlap", "rules/prune.c", "(int32_t)(piece * PIECE - before) };", "0 };"),
    Mutant(
        "wave-reads-what-it-wrote",
        "store/edit.c",
        "last = read_wave(e, last, !b);\n        write_wave(e, b);",
        "write_wave(e, b);\n        last = read_wave(e, last, !b);",
    ),
    # --- random numbers
    Mutant("philox-nine-rounds", "base/rng.h", "round < 10", "round < 9"),
    Mutant("bounded-draws-biased", "base/rng.h", "while (lo < rejected)", "while (floor > lo + bound)"),
    # --- what rules do at every step
    Mutant("normal-tail-cut-off", "base/normal.c", "            x = tail(&s);\n", "            x = TAIL;\n"),
    Mutant("normal-corners-filled", "base/normal.c", "if (y < exp(-0.5 * x * x))", "if (y < 1)"),
    Mutant("normal-bits-shared", "base/normal.c", "(uint64_t)(first + i) / 2);", "(uint64_t)i / 2);"),
    Mutant("walk-turns-back", "rules/deepr.c", "(theta <= 0) | (moved <= 0)", "moved <= 0"),
    Mutant("zero-by-its-last-row", "rules/prune_zeros.c", "zero = zero && w[", "zero = w["),
    Mutant("masked-and-in-use", "rules/topkast.c", "kept[r] = up ? 0 : v;", "kept[r] = v;"),
]
