/* harness.h -- what the chapters of test_core.c share: checks, snapshots, a model.
 *
 * A test is a function; CHECK notes a failure and goes on, so that one run shows
 * everything that broke. The model is the store as plainly as it can be said: a
 * table of n_groups x n_in places. */
#ifndef RW_TEST_HARNESS_H
#define RW_TEST_HARNESS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../check.h"
#include "base/hypergeometric.h"
#include "base/mem.h"
#include "store/csr.h"
#include "store/loader.h"
#include "store/edit.h"
#include "store/links.h"
#include "store/mirror.h"
#include "store/store.h"
#include "rules/grow_random.h"
#include "rules/prune.h"

static void run_test(const char *name, void (*test)(void))
{
    if (test_filter && !strstr(name, test_filter))
        return;
    int before = checks_failed;
    test();
    if (checks_failed == before) {
        tests_passed++;
    } else {
        tests_failed++;
        printf("FAILED %s\n", name);
        fflush(stdout);
    }
}
#define RUN(test) run_test(#test, test)

static const rw_run ALONE = { 1, NULL, NULL };

/* --- random numbers for the tests, not the ones under test: splitmix64 ---- */

static uint64_t random_state = 1;

static uint64_t random_word(void)
{
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int32_t random_below(int32_t bound) { return (int32_t)(random_word() % (uint64_t)bound); }

/* --- values of a field, as doubles ---------------------------------------- */

static double value_get(const rw_field *f, int64_t index)
{
    const char *at = f->data + (size_t)index * rw_dtype_size(f->dtype);
    float f32;
    double f64;
    int32_t i32;
    int64_t i64;
    switch (f->dtype) {
    case RW_F32: memcpy(&f32, at, sizeof f32); return (double)f32;
    case RW_F64: memcpy(&f64, at, sizeof f64); return f64;
    case RW_I32: memcpy(&i32, at, sizeof i32); return (double)i32;
    case RW_I64: memcpy(&i64, at, sizeof i64); return (double)i64;
    case RW_U8:  return (double)(unsigned char)*at;
    case RW_BF16: break; /* of tiles alone */
    }
    return 0.0;
}

static void value_put(rw_dtype dtype, void *array, int64_t index, double value)
{
    char *at = (char *)array + (size_t)index * rw_dtype_size(dtype);
    float f32 = (float)value;
    int32_t i32;
    int64_t i64;
    unsigned char u8;
    switch (dtype) {
    case RW_F32: memcpy(at, &f32, sizeof f32); return;
    case RW_F64: memcpy(at, &value, sizeof value); return;
    case RW_I32: i32 = (int32_t)value; memcpy(at, &i32, sizeof i32); return;
    case RW_I64: i64 = (int64_t)value; memcpy(at, &i64, sizeof i64); return;
    case RW_U8:  u8 = (unsigned char)value; memcpy(at, &u8, sizeof u8); return;
    case RW_BF16: return; /* of tiles alone */
    }
}

/* NaN equals NaN, and +0 is not -0: a moved value keeps its bits. */
static bool same_value(double a, double b)
{
    return (a == b && signbit(a) == signbit(b)) || (isnan(a) && isnan(b));
}

/* --- edits in one call ----------------------------------------------------- */

typedef struct { int32_t group, source; } place;

static bool is_sound(const rw_store *s)
{
    const char *why = "?";
    rw_status status = rw_store_check(s, &why);
    if (status != RW_OK)
        printf("rw_store_check: %s: %s\n", rw_status_str(status), why);
    return status == RW_OK;
}

/* Plan, reserve, commit. `weight`: n_ins * group doubles, or NULL. */
static rw_status change(rw_store *s, int64_t n_del, const place *del, int64_t n_ins,
                        const place *ins, const double *weight, rw_fault *at)
{
    size_t rooms = (size_t)(n_del + n_ins) + 1;
    int32_t *column = malloc(4 * rooms * sizeof *column);
    char *values = malloc(rooms * (size_t)s->group * sizeof(double));
    rw_plan *plan = rw_plan_new(s);
    REQUIRE(column && values);
    rw_status status = RW_ENOMEM;
    if (!plan)
        goto done;
    int32_t *del_group = column, *del_source = column + rooms;
    int32_t *ins_group = column + 2 * rooms, *ins_source = column + 3 * rooms;
    for (int64_t i = 0; i < n_del; i++) {
        del_group[i] = del[i].group;
        del_source[i] = del[i].source;
    }
    for (int64_t i = 0; i < n_ins; i++) {
        ins_group[i] = ins[i].group;
        ins_source[i] = ins[i].source;
    }
    for (int64_t i = 0; weight && i < n_ins * s->group; i++)
        value_put(s->field[RW_WEIGHT].dtype, values, i, weight[i]);
    status = rw_plan_pairs(plan, n_del, del_group, del_source, n_ins, ins_group, ins_source,
                           weight ? values : NULL, at);
    rw_edit *edit = NULL;
    if (status == RW_OK)
        status = rw_edit_reserve(s, plan, 1, &edit, at);
    if (status == RW_OK)
        rw_edit_commit(edit);
done:
    rw_plan_free(plan);
    free(values);
    free(column);
    return status;
}

static rw_status insert_one(rw_store *s, int32_t group, int32_t source, double weight)
{
    double values[8];
    for (int i = 0; i < s->group; i++)
        value_put(s->field[RW_WEIGHT].dtype, values, i, i ? weight + i : weight);
    rw_fault fault;
    return rw_edit_insert(s, group, source, values, &fault);
}

static rw_status remove_one(rw_store *s, int32_t group, int32_t source)
{
    rw_fault fault;
    return rw_edit_remove(s, group, source, &fault);
}

static rw_status commit_plan(rw_store *s, rw_plan *p)
{
    rw_edit *edit = NULL;
    rw_fault at;
    rw_status status = rw_edit_reserve(s, p, 1, &edit, &at);
    if (status == RW_OK)
        rw_edit_commit(edit);
    return status;
}

/* A store whose links are drawn by the tests' own generator; the value of row r
 * and source j is 1 + j + 1000 * r, negative where (r + j) is odd. */
static double default_weight(int32_t row, int32_t source)
{
    double w = 1.0 + (double)source + 1000.0 * (double)row;
    return (row + source) % 2 ? -w : w;
}

static rw_store *random_store(int32_t n_out, int32_t n_in, int32_t group, rw_dtype dtype,
                              int32_t percent)
{
    rw_store *s = rw_store_new(n_out, n_in, group, dtype);
    REQUIRE(s);
    int64_t room = (int64_t)s->n_groups * n_in, n = 0;
    place *all = malloc((size_t)room * sizeof *all);
    double *weight = malloc((size_t)(room * group) * sizeof *weight);
    REQUIRE(all && weight);
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t j = 0; j < n_in; j++)
            if (random_below(100) < percent) {
                all[n] = (place){ g, j };
                for (int32_t r = 0; r < group; r++) {
                    int32_t row = g * group + r;
                    weight[n * group + r] = row < n_out ? default_weight(row, j) : 0.0;
                }
                n++;
            }
    rw_fault at;
    REQUIRE(change(s, 0, NULL, n, all, weight, &at) == RW_OK);
    free(weight);
    free(all);
    return s;
}

/* --- snapshots: everything anybody can see of a store ---------------------- */

typedef struct {
    rw_store header;
    unsigned char *bytes;
    size_t n_bytes, room;
} snapshot;

static void append(snapshot *shot, const void *from, size_t n)
{
    if (n == 0)
        return;
    if (shot->n_bytes + n > shot->room) {
        shot->room = 2 * (shot->n_bytes + n);
        shot->bytes = realloc(shot->bytes, shot->room);
        REQUIRE(shot->bytes);
    }
    memcpy(shot->bytes + shot->n_bytes, from, n);
    shot->n_bytes += n;
}

static snapshot snapshot_take(const rw_store *s)
{
    snapshot shot = { *s, NULL, 0, 0 };
    size_t n = (size_t)s->n_groups;
    append(&shot, s->start, n * sizeof *s->start);
    append(&shot, s->len, n * sizeof *s->len);
    append(&shot, s->cap, n * sizeof *s->cap);
    for (int32_t g = 0; g < s->n_groups; g++) {
        if (s->len[g] == 0)
            continue;
        append(&shot, s->source + s->start[g], (size_t)s->len[g] * sizeof *s->source);
        for (int32_t f = 0; f < s->n_fields; f++) {
            size_t slot = rw_dtype_size(s->field[f].dtype) * (size_t)s->field[f].width;
            append(&shot, s->field[f].data + (size_t)s->start[g] * slot, (size_t)s->len[g] * slot);
        }
    }
    return shot;
}

static void snapshot_free(snapshot *shot) { free(shot->bytes); }

static bool snapshot_same(const snapshot *shot, const rw_store *s)
{
    const rw_store *h = &shot->header;
    if (h->n_out != s->n_out || h->n_in != s->n_in || h->group != s->group
        || h->n_groups != s->n_groups || h->slots != s->slots || h->n_fields != s->n_fields
        || h->top != s->top || h->lost != s->lost || h->pooled != s->pooled
        || h->generation != s->generation || h->pins != s->pins
        || memcmp(h->pool, s->pool, sizeof s->pool) != 0)
        return false;
    for (int32_t f = 0; f < s->n_fields; f++)
        if (strcmp(h->field[f].name, s->field[f].name) != 0
            || h->field[f].dtype != s->field[f].dtype || h->field[f].width != s->field[f].width
            || !same_value(h->field[f].birth, s->field[f].birth))
            return false;
    snapshot now = snapshot_take(s);
    bool same = now.n_bytes == shot->n_bytes
        && (now.n_bytes == 0 || memcmp(now.bytes, shot->bytes, now.n_bytes) == 0);
    snapshot_free(&now);
    return same;
}

/* --- do two stores hold the same, wherever their windows lie? -------------- */

static bool same_contents(const rw_store *a, const rw_store *b)
{
    if (a->n_out != b->n_out || a->n_in != b->n_in || a->group != b->group || a->slots != b->slots
        || a->n_fields != b->n_fields)
        return false;
    for (int32_t g = 0; g < a->n_groups; g++) {
        if (a->len[g] != b->len[g])
            return false;
        for (int32_t k = 0; k < a->len[g]; k++)
            if (a->source[a->start[g] + k] != b->source[b->start[g] + k])
                return false;
        for (int32_t f = 0; f < a->n_fields; f++) {
            int32_t width = a->field[f].width;
            if (width != b->field[f].width || strcmp(a->field[f].name, b->field[f].name) != 0)
                return false;
            for (int64_t i = 0; i < (int64_t)a->len[g] * width; i++)
                if (!same_value(value_get(&a->field[f], a->start[g] * width + i),
                                value_get(&b->field[f], b->start[g] * width + i)))
                    return false;
        }
    }
    return true;
}

static bool connected(const rw_store *s, int32_t group, int32_t source)
{
    return rw_group_find(s, group, source) >= 0;
}

#endif
