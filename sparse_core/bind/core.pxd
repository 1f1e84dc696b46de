# core.pxd -- the C core as Cython sees it: names and signatures; struct fields
# only where the binding reads them.
from libc.stdint cimport uint8_t, int32_t, int64_t, uint32_t, uint64_t


cdef extern from "base/base.h" nogil:
    enum:
        RW_MAX_THREADS
    ctypedef enum rw_status:
        RW_OK, RW_ENOMEM, RW_ERANGE, RW_EEXIST, RW_ENOENT, RW_ESHAPE
        RW_EPINNED, RW_ESTALE, RW_EFULL, RW_ECORRUPT, RW_EINTR
    ctypedef enum rw_dtype:
        RW_F32, RW_F64, RW_I32, RW_I64, RW_U8, RW_BF16
    ctypedef struct rw_fault:
        int64_t group, source
    ctypedef struct rw_run:
        int threads
        int (*poll)(void *) noexcept
        void *arg
    const char *rw_status_str(rw_status status)
    size_t rw_dtype_size(rw_dtype dtype)


cdef extern from "base/mem.h" nogil:
    void *rw_alloc(size_t bytes)
    void *rw_calloc(size_t bytes)
    void rw_free(void *block, size_t bytes)


cdef extern from "base/rng.h" nogil:
    ctypedef struct rw_key:
        uint64_t seed, stream, step
    ctypedef struct rw_philox:
        uint64_t v[4]
    uint64_t rw_stream(uint32_t number, uint32_t worker)
    rw_philox rw_philox_block(uint64_t key0, uint64_t key1, rw_philox counter)


cdef extern from "base/hypergeometric.h" nogil:
    int64_t rw_hypergeometric(int64_t total, int64_t marked, int64_t draws, double u)


cdef extern from "store/store.h" nogil:
    enum:
        RW_MAX_WIDTH, RW_MAX_FIELDS
    ctypedef struct rw_field:
        char *name
        rw_dtype dtype
        int32_t width
        double birth
        char *data
    ctypedef struct rw_mirror:
        bint valid
    ctypedef struct rw_store:
        int32_t n_out, n_in, group, n_groups, n_fields, pins
        int64_t slots, arena, pooled, lost
        int64_t *start
        int32_t *len
        int32_t *source
        rw_field *field
        rw_mirror mirror
        uint64_t generation
    rw_store *rw_store_new(int64_t n_out, int64_t n_in, int32_t group, rw_dtype weights)
    void rw_store_free(rw_store *s)
    rw_store *rw_store_clone(const rw_store *s)
    size_t rw_store_bytes(const rw_store *s)
    int64_t rw_store_nnz(const rw_store *s)
    rw_status rw_store_add_field(rw_store *s, const char *name, rw_dtype dtype, int32_t width, double birth)
    rw_status rw_store_drop_field(rw_store *s, const char *name)
    int32_t rw_store_field(const rw_store *s, const char *name)
    void rw_store_pin(rw_store *s)
    void rw_store_unpin(rw_store *s)
    void rw_store_drop_mirror(rw_store *s)
    rw_status rw_store_compact(rw_store *s)
    rw_status rw_store_revert(rw_store *s, rw_store *then)
    rw_status rw_store_check(const rw_store *s, const char **why)
    int64_t rw_packed_slots(int64_t slots, int64_t n_groups)


cdef extern from "store/mirror.h" nogil:
    rw_status rw_mirror_build(rw_store *s, int threads)
    int64_t rw_mirror_room(int64_t slots)
    bint rw_mirror_pays(const rw_store *s)


cdef extern from "store/links.h" nogil:
    int64_t rw_link_slot(const rw_store *s, int32_t row, int32_t source)
    double rw_slot_weight(const rw_store *s, int64_t slot, int32_t row)
    void rw_slot_put(rw_store *s, int64_t slot, int32_t row, double weight)
    void rw_links_get(const rw_store *s, int64_t n, const int64_t *row, const int64_t *source, void *weight,
                      uint8_t *there)
    void rw_links_put(rw_store *s, int64_t n, const int64_t *row, const int64_t *source, const void *weight)
    rw_status rw_links_sort(int64_t n, int64_t *row, int64_t *source, int64_t *origin)
    void rw_row_links(const rw_store *s, int32_t row, int32_t *source, void *weight)
    int64_t rw_source_count(const rw_store *s, int32_t source)
    void rw_source_links(const rw_store *s, int32_t source, int32_t *row, void *weight)


cdef extern from "store/plan.h" nogil:
    ctypedef struct rw_plan:
        uint64_t generation
        int64_t n_del, n_ins
        int32_t *del_group
        int32_t *del_position
        int32_t *ins_group
        int32_t *ins_source
    ctypedef enum rw_value:
        RW_VALUE_CONSTANT, RW_VALUE_UNIFORM, RW_VALUE_NORMAL, RW_VALUE_SIGN, RW_VALUE_OVERSHOOT
    ctypedef enum rw_fan:
        RW_FAN_NONE, RW_FAN_REAL
    rw_plan *rw_plan_new(const rw_store *s)
    void rw_plan_free(rw_plan *p)
    size_t rw_plan_bytes(const rw_plan *p)
    rw_status rw_plan_pairs(rw_plan *p, int64_t n_del, const int32_t *del_group, const int32_t *del_source,
                            int64_t n_ins, const int32_t *ins_group, const int32_t *ins_source,
                            const void *weight, rw_fault *at)
    rw_status rw_plan_insert(rw_plan *p, int64_t n, const int32_t *group, const int32_t *source,
                             const void *weight, rw_fault *at)
    rw_status rw_plan_keep_common(rw_plan *p)
    rw_status rw_plan_removed_sources(const rw_plan *p, int32_t *source)
    rw_status rw_plan_mapping(const rw_plan *p, int64_t *old, rw_fault *at)
    void rw_plan_mapping_after(const rw_plan *p, int64_t *old)
    rw_status rw_plan_removed_marks(const rw_plan *p, uint8_t *mark)
    rw_status rw_plan_values(rw_plan *p, rw_value kind, double scale, rw_fan fan, rw_key key, const rw_run *run)


cdef extern from "store/edit.h" nogil:
    ctypedef struct rw_edit:
        pass
    rw_status rw_edit_reserve(rw_store *s, const rw_plan *p, int threads, rw_edit **out, rw_fault *at)
    void rw_edit_commit(rw_edit *e)
    void rw_edit_cancel(rw_edit *e)
    rw_status rw_edit_insert(rw_store *s, int32_t group, int32_t source, const void *weight, rw_fault *at)
    rw_status rw_edit_remove(rw_store *s, int32_t group, int32_t source, rw_fault *at)


cdef extern from "store/csr.h" nogil:
    void rw_csr_indptr(const rw_store *s, int64_t *indptr)
    void rw_csr_sources(const rw_store *s, int32_t *out)
    void rw_csr_get(const rw_store *s, int32_t field, void *out)
    void rw_csr_set(rw_store *s, int32_t field, const void *values)
    void rw_csr_get_links(const rw_store *s, int32_t field, void *out)
    void rw_csr_set_links(rw_store *s, int32_t field, const void *values)
    rw_status rw_csr_load(rw_store *s, const int64_t *indptr, const int32_t *sources, const void *weights,
                          rw_fault *at)


cdef extern from "store/loader.h" nogil:
    ctypedef struct rw_loader:
        pass
    rw_status rw_loader_begin(rw_loader *l, rw_store *s, int64_t slots)
    rw_status rw_loader_indptr(rw_loader *l, const int64_t *indptr, int64_t n, rw_fault *at)
    rw_status rw_loader_sources(rw_loader *l, const int32_t *sources, int64_t n, rw_fault *at)
    rw_status rw_loader_values(rw_loader *l, int32_t field, const void *values, int64_t n)
    bint rw_loader_complete(const rw_loader *l)


cdef extern from "store/digest.h" nogil:
    uint64_t rw_store_digest(const rw_store *s)
    uint64_t rw_digest_count(const rw_store *s) nogil
    uint64_t rw_structure_digest(const rw_store *s, uint64_t sum)


cdef extern from "store/structure.h" nogil:
    ctypedef struct rw_structure_head:
        int32_t n_out, n_in, group
        int64_t slots
    size_t rw_structure_size(const rw_store *s)
    void rw_structure_write(const rw_store *s, void *out)
    rw_status rw_structure_read_head(const void *bytes, size_t n, rw_structure_head *head)
    rw_status rw_structure_load(rw_store *s, const void *bytes, size_t n)


cdef extern from "store/blend.h" nogil:
    enum:
        RW_BLEND_MOST
    ctypedef enum rw_blend:
        RW_BLEND_SUM, RW_BLEND_MEAN, RW_BLEND_HOLDERS, RW_BLEND_MIN, RW_BLEND_MAX
    rw_status rw_field_blend(rw_store *to, int32_t field, const rw_store **of, const int32_t *fields, int32_t k,
                             rw_blend how, double none, const rw_run *run)


cdef extern from "store/merge.h" nogil:
    rw_status rw_store_merge(const rw_store **of, int32_t k, rw_blend how, int64_t slots, const rw_run *run,
                             rw_store **out)


cdef extern from "rules/grow_random.h" nogil:
    rw_status rw_plan_grow_random(rw_plan *p, int64_t count, rw_key key, const rw_run *run)
    rw_status rw_plan_grow_fan_in(rw_plan *p, int32_t fan_in, rw_key key, const rw_run *run)


cdef extern from "rules/prune.h" nogil:
    rw_status rw_plan_prune_set(rw_plan *p, double zeta, rw_key key, const rw_run *run)
    rw_status rw_plan_prune_smallest(rw_plan *p, int64_t count, rw_key key, const rw_run *run)
    rw_status rw_plan_prune_scores(rw_plan *p, const double *score, int64_t count, rw_key key, const rw_run *run)
    rw_status rw_plan_prune_zeros(rw_plan *p, const rw_run *run)
    rw_status rw_plan_prune_below(rw_plan *p, double threshold, const rw_run *run)


cdef extern from "rules/grow_paths.h" nogil:
    ctypedef enum rw_path_score:
        RW_CH2, RW_CH3
    rw_status rw_plan_grow_paths(rw_plan *p, int64_t count, rw_path_score score, bint sample, rw_key key,
                            const rw_run *run)


cdef extern from "base/normal.h" nogil:
    ctypedef struct rw_normal:
        pass
    void rw_normal_start(rw_normal *t)
    void rw_normals(const rw_normal *t, rw_key key, uint64_t row, int64_t first, int64_t n, float *out)


cdef extern from "rules/deepr.h" nogil:
    rw_status rw_deepr_signs(rw_store *s, int32_t sign)
    rw_status rw_deepr_step(rw_store *s, int32_t sign, double drift, double noise, const rw_normal *normal,
                      rw_key key, const rw_run *run)


cdef extern from "rules/topkast.h" nogil:
    ctypedef struct rw_topkast_penalty:
        double forward, backward
        bint magnitudes
    rw_status rw_topkast_derive(rw_store *s, int32_t master, int32_t mask, const rw_topkast_penalty *by,
                                const rw_run *run)
    rw_status rw_topkast_select(rw_store *s, int32_t master, int32_t mask, int64_t n, const int32_t *group,
                                const int32_t *source, const uint8_t *up)


cdef extern from "kernels/kernels.h" nogil:
    ctypedef enum rw_act:
        RW_ACT_LINEAR, RW_ACT_RELU, RW_ACT_LEAKY, RW_ACT_SIGMOID, RW_ACT_TANH, RW_ACT_THRESHOLDED, \
            RW_ACT_GELU, RW_ACT_GELU_TANH, RW_ACT_SILU
    enum:
        RW_STATE
    ctypedef enum rw_opt:
        RW_OPT_SGD, RW_OPT_ADAM, RW_OPT_COUNT
    ctypedef enum rw_decay:
        RW_DECAY_L2, RW_DECAY_DECOUPLED, RW_DECAY_PER_STEP
    ctypedef struct rw_update:
        rw_opt kind
        rw_decay decay_kind
        const char *target
        const char *state[2]
        const char *age
        double lr, decay, momentum
        bint nesterov
        double beta1, beta2, eps
        int64_t step
        const double *correction1
        const double *correction2
        int64_t n_correction
    int32_t rw_update_keeps(const rw_update *u)
    const char *rw_opt_name(rw_opt kind)
    ctypedef enum rw_input:
        RW_IN_F32, RW_IN_F64, RW_IN_U8, RW_IN_I8, RW_IN_U16, RW_IN_I16, RW_IN_I32, RW_IN_I64, RW_IN_BOOL
    ctypedef struct rw_user_rows:
        rw_input kind
        const char *x
        Py_ssize_t row_stride, column_stride
        const int64_t *rows
        const double *mean
        const double *scale
    ctypedef struct rw_kernels:
        const char *name
        void (*update)(const rw_update *u, void *w, void *m, void *v, const int32_t *born, int32_t width,
                       const void *g, int64_t n) noexcept nogil
    const rw_kernels *const *rw_kernels_list(rw_dtype dtype, int *n)
    const rw_kernels *rw_kernels_named(rw_dtype dtype, const char *name)


cdef extern from "ops/tiles.h" nogil:
    enum:
        RW_MAX_TILE
    ctypedef struct rw_tiles:
        int32_t n, rows, tile
        int64_t batch, n_tiles
        rw_dtype dtype
        size_t bytes
        char *data
    int32_t rw_tile_size(int64_t batch, rw_dtype dtype)
    rw_tiles *rw_tiles_new(int64_t n, int64_t batch, int32_t tile, rw_dtype dtype)
    void rw_tiles_free(rw_tiles *t)
    size_t rw_tiles_bytes(int64_t n, int64_t batch, int32_t tile, rw_dtype dtype)
    rw_status rw_tiles_over(rw_tiles *t, int64_t n, int64_t batch, int32_t tile, rw_dtype dtype, void *data,
                            size_t bytes)
    void rw_tiles_clear_padding(rw_tiles *t)
    bint rw_tiles_padding_is_clear(const rw_tiles *t)
    rw_status rw_tiles_shape(rw_tiles *t, int64_t batch, int32_t tile)
    bint rw_rows_in_range(const int64_t *rows, int64_t n, int64_t bound)
    void rw_tiles_pack(const rw_kernels *k, rw_tiles *t, const rw_user_rows *rows, int threads)
    bint rw_csr_in_range(const int64_t *indptr, const int32_t *columns, int64_t entries, const int64_t *rows,
                         int64_t batch, int32_t n)
    void rw_tiles_pack_csr(rw_tiles *t, rw_dtype kind, const int64_t *indptr, const int32_t *columns,
                           const char *values, int64_t entries, const int64_t *rows, const double *mean,
                           const double *scale, int threads)
    bint rw_tiles_finite(const rw_tiles *t, int threads)
    void rw_tiles_unpack(const rw_kernels *k, const rw_tiles *t, char *out, Py_ssize_t row_stride,
                         Py_ssize_t column_stride, int threads)


cdef extern from "ops/nonzeros.h" nogil:
    ctypedef struct rw_csr_input:
        rw_dtype kind
        const int64_t *indptr
        const int32_t *columns
        const char *values
        int64_t entries
        const int64_t *rows
        const double *shift
        const double *scale
        const int32_t *whole
        int32_t n_whole
    ctypedef struct rw_nonzeros:
        int32_t n, tile
        int64_t batch, n_tiles, values
        rw_dtype dtype
        bint packed
    rw_nonzeros *rw_nonzeros_new(int64_t n, rw_dtype dtype)
    void rw_nonzeros_free(rw_nonzeros *x)
    size_t rw_nonzeros_bytes(const rw_nonzeros *x)
    rw_status rw_nonzeros_load(rw_nonzeros *x, const rw_kernels *k, const rw_csr_input *rows, int64_t batch,
                               int32_t tile, int64_t part, const void *zero, int threads)
    rw_status rw_nonzeros_reach(rw_nonzeros *x, const rw_store *s, int threads)
    void rw_nonzeros_unpack(const rw_nonzeros *x, void *out)
    bint rw_nonzeros_finite(const rw_nonzeros *x)


cdef extern from "ops/layer.h" nogil:
    rw_status rw_forward(const rw_kernels *k, const rw_store *s, const rw_tiles *x, const void *bias,
                         rw_act act, double slope, rw_tiles *y, rw_tiles *z, const rw_run *run)
    rw_status rw_activate(const rw_kernels *k, const void *bias, rw_act act, double slope, rw_tiles *y,
                          rw_tiles *z, const rw_run *run)
    rw_status rw_activate_back(const rw_kernels *k, rw_act act, double slope, const rw_tiles *y,
                               rw_tiles *dy, const rw_run *run)
    bint rw_gather_pays(const rw_kernels *k, const rw_store *s, int64_t batch)
    rw_status rw_backward_input(const rw_kernels *k, const rw_store *s, const rw_tiles *dy, rw_tiles *dx,
                                const rw_run *run)
    rw_status rw_bias_gradient(const rw_kernels *k, const rw_tiles *dy, void *out, bint add,
                               const rw_run *run)
    rw_status rw_dropout(const rw_kernels *k, const rw_tiles *x, rw_tiles *y, double p, rw_key key,
                         int64_t first_sample, const rw_run *run)
    ctypedef struct rw_drop:
        double p
        rw_key key
        int64_t first_sample
    rw_status rw_activate_back_sums(const rw_kernels *k, const rw_drop *drop, rw_act act, double slope,
                                    const rw_tiles *y, rw_tiles *dy, void *out, bint add, const rw_run *run)


cdef extern from "ops/nonzero_layer.h" nogil:
    rw_status rw_nonzero_forward(const rw_kernels *k, const rw_store *s, const rw_nonzeros *x, const void *bias,
                                 rw_act act, double slope, rw_tiles *y, rw_tiles *z, const rw_run *run)


cdef extern from "ops/norm.h" nogil:
    rw_status rw_layer_norm(const rw_kernels *k, const rw_tiles *x, const void *gain, const void *shift, double eps,
                            bint centered, rw_tiles *z, void *inverse, rw_tiles *y, const rw_run *run)
    rw_status rw_layer_norm_back(const rw_kernels *k, const rw_tiles *z, const void *inverse, const void *gain,
                                 bint centered, const rw_tiles *dy, rw_tiles *dx, const rw_run *run)
    rw_status rw_norm_gradient(const rw_kernels *k, const rw_tiles *z, const rw_tiles *dy, void *dgain, void *dshift,
                               const rw_run *run)
    rw_status rw_batch_moments(const rw_kernels *k, const rw_tiles *x, double eps, void *mean, void *variance,
                               void *inverse, const rw_run *run)
    rw_status rw_batch_norm(const rw_kernels *k, const rw_tiles *x, const void *mean, const void *inverse,
                            const void *gain, const void *shift, rw_tiles *z, rw_tiles *y, const rw_run *run)
    rw_status rw_batch_norm_back(const rw_kernels *k, const rw_tiles *z, const void *inverse, const void *gain,
                                 const void *dgain, const void *dshift, double count, const rw_tiles *dy,
                                 rw_tiles *dx, const rw_run *run)


cdef extern from "ops/winners.h" nogil:
    rw_status rw_winners(const rw_kernels *k, const rw_tiles *x, const void *factor, double sign, int32_t winners,
                         rw_tiles *y, int32_t row, const rw_run *run)
    rw_status rw_winners_back(const rw_kernels *k, const rw_tiles *y, const rw_tiles *dy, int32_t row, rw_tiles *dx,
                              bint add, const rw_run *run)
    rw_status rw_count_winners(const rw_kernels *k, const rw_tiles *y, double *counts, const rw_run *run)

cdef extern from "ops/srelu.h" nogil:
    rw_status rw_srelu(const rw_kernels *k, const rw_tiles *x, const void *shape, rw_tiles *y, const rw_run *run)
    rw_status rw_srelu_back(const rw_kernels *k, const rw_tiles *x, const void *shape, const rw_tiles *dy,
                            rw_tiles *dx, const rw_run *run)
    rw_status rw_srelu_gradient(const rw_kernels *k, const rw_tiles *x, const void *shape, const rw_tiles *dy,
                                void *gradient, const rw_run *run)


cdef extern from "ops/sides.h" nogil:
    rw_status rw_two_sides(const rw_kernels *k, const rw_tiles *x, rw_tiles *sides, const rw_run *run)
    rw_status rw_two_sides_back(const rw_kernels *k, const rw_tiles *x, const rw_tiles *dsides, rw_tiles *dx,
                                const rw_run *run)


cdef extern from "ops/wht.h" nogil:
    rw_status rw_wht(const rw_kernels *k, const rw_tiles *x, rw_tiles *y, int32_t first, int32_t last,
                     const rw_run *run)


cdef extern from "ops/switches.h" nogil:
    rw_status rw_switches(const rw_kernels *k, const rw_tiles *x, const void *weight, int32_t width, rw_tiles *y,
                          const rw_run *run)
    rw_status rw_switches_back(const rw_kernels *k, const rw_tiles *x, const void *weight, int32_t width,
                               const rw_tiles *dy, rw_tiles *dx, const rw_run *run)
    rw_status rw_switches_gradient(const rw_kernels *k, const rw_tiles *x, const rw_tiles *dy, int32_t width,
                                   void *gradient, const rw_run *run)


cdef extern from "ops/gradient.h" nogil:
    rw_status rw_backward_update(const rw_kernels *k, rw_store *s, const rw_tiles *x, const rw_tiles *dy,
                                 const rw_update *u, void *scratch, const rw_run *run)
    int64_t rw_scratch_values(const rw_kernels *k, const rw_store *s, const rw_tiles *dy)
    rw_status rw_nonzero_backward_update(const rw_kernels *k, rw_store *s, const rw_nonzeros *x, const rw_tiles *dy,
                                         const rw_update *u, void *scratch, const rw_run *run)
    rw_status rw_nonzero_backward_weights(const rw_kernels *k, rw_store *s, const rw_nonzeros *x,
                                          const rw_tiles *dy, int32_t grad, bint add, void *scratch,
                                          const rw_run *run)
    rw_status rw_backward_weights(const rw_kernels *k, rw_store *s, const rw_tiles *x, const rw_tiles *dy,
                                  int32_t grad, bint add, void *scratch, const rw_run *run)
    rw_status rw_update_from(const rw_kernels *k, rw_store *s, int32_t grad, const rw_update *u,
                             const rw_run *run)
    rw_status rw_packed_gradients(const rw_kernels *k, const rw_store *s, const rw_tiles *x, const rw_tiles *dy,
                                  const int64_t *before, void *out, const rw_run *run)


cdef extern from "ops/bf16.h" nogil:
    ctypedef struct rw_bf16_operands:
        const rw_tiles *x
        const rw_tiles *dy
        const rw_tiles *rounded_x
        const rw_tiles *rounded_dy
    bint rw_bf16_has_kernels(const rw_kernels *k, const rw_tiles *t)
    rw_status rw_bf16_round(const rw_kernels *k, const rw_tiles *x, rw_tiles *to, const rw_run *run)
    size_t rw_bf16_room(const rw_kernels *k, const rw_store *s, const rw_tiles *tiles, bint rounded)
    int64_t rw_bf16_scratch_values(const rw_kernels *k, const rw_store *s, const rw_tiles *dy)
    rw_status rw_bf16_forward(const rw_kernels *k, const rw_store *s, const rw_tiles *x, const rw_tiles *rounded,
                              const void *bias, rw_act act, double slope, rw_tiles *y, rw_tiles *z, void *room,
                              const rw_run *run)
    rw_status rw_bf16_backward_input(const rw_kernels *k, const rw_store *s, const rw_tiles *dy,
                                     const rw_tiles *rounded, rw_tiles *dx, void *room, const rw_run *run)
    rw_status rw_bf16_backward_weights(const rw_kernels *k, rw_store *s, const rw_bf16_operands *of, int32_t grad,
                                       bint add, void *scratch, void *room, const rw_run *run)
    rw_status rw_bf16_backward_update(const rw_kernels *k, rw_store *s, const rw_bf16_operands *of,
                                      const rw_update *u, void *scratch, void *room, const rw_run *run)
    rw_status rw_bf16_packed_gradients(const rw_kernels *k, const rw_store *s, const rw_bf16_operands *of,
                                       const int64_t *before, void *out, void *room, const rw_run *run)


cdef extern from "ops/fields.h" nogil:
    double rw_field_sumsq(const rw_store *s, int32_t field)
    void rw_field_scale(rw_store *s, int32_t field, double factor)
    void rw_field_add(rw_store *s, int32_t field, const void *values)
    bint rw_field_finite(const rw_store *s, int32_t field)
    rw_status rw_free_slots_zero(rw_store *s)


cdef extern from "ops/average.h" nogil:
    rw_status rw_field_average(rw_store *s, int32_t of, int32_t mean, int32_t count, double least,
                               const rw_run *run)


cdef extern from "ops/moments.h" nogil:
    enum:
        RW_SAFE
    ctypedef struct rw_units:
        const double *mean
        const double *scale
        const double *deviation
    ctypedef struct rw_column_sums:
        double *stored
        double *mean
        double *squares
        double *low
        double *high
    ctypedef struct rw_seen_columns:
        const double *center
        const double *mean
        const double *deviation
        const double *low
        const double *high
    double rw_largest(const void *x, int64_t n, rw_dtype dtype)
    bint rw_deviations(int64_t n, double total, double rounding, const double *mean, const double *squares,
                       double *deviation)
    void rw_change_units(int64_t n, double least, double most, double fresh, const rw_units *before,
                         const rw_units *after, double *gain, double *offset)
    void rw_sum_columns(const double *x, int64_t rows, int64_t n, const rw_column_sums *to)
    bint rw_sum_entries(const int32_t *column, const double *value, int64_t entries, int64_t rows, int64_t n,
                        const rw_column_sums *to)
    bint rw_block_moments(const double *x, int64_t rows, int64_t n, double rounding, double least, double most,
                          const rw_column_sums *to)
    double rw_weight_share(double total, double more)
    void rw_merge_moments(int64_t n, double fraction, double rounding, double *mean, double *deviation,
                          const double *more_mean, const double *more_deviation)
    void rw_column_scales(int64_t n, double rounding, double farthest, const rw_seen_columns *seen, double *scale,
                          double *reach, double *steepest)


cdef extern from "ops/target_units.h" nogil:
    ctypedef struct rw_target_moments:
        double total
        double rows
        const double *mean
        const double *deviation
    ctypedef struct rw_unit_rules:
        double apart
        double behind
        double tolerance
        bint stream
    ctypedef struct rw_new_units:
        double *mean
        double *deviation
        double *scale
        double *gain
        double *shift
        double *fraction
        bint equal
        bint near
    void rw_elsewhere(int64_t n, double apart, const rw_target_moments *before, const rw_target_moments *found,
                      uint8_t *far)
    void rw_follow_targets(int64_t n, const rw_unit_rules *rules, double rounding, const rw_target_moments *before,
                           const rw_target_moments *found, const double *mean, const double *scale,
                           rw_new_units *to)


cdef extern from "ops/rescale.h" nogil:
    void rw_field_rescale(rw_store *s, int32_t field, const double *rows, const double *cols)
    void rw_weight_times(const rw_store *s, const double *x, double *y)


cdef extern from "rules/grow_gradient.h" nogil:
    rw_status rw_plan_grow_gradient(rw_plan *p, int64_t count, const rw_kernels *k, const rw_tiles *x,
                               const rw_nonzeros *few, const rw_tiles *dy, bint returns, rw_key key, const rw_run *run)
    rw_status rw_plan_grow_gradient_each(rw_plan *p, const int32_t *each, const rw_kernels *k, const rw_tiles *x,
                                    const rw_nonzeros *few, const rw_tiles *dy, bint returns, rw_key key,
                                    const rw_run *run)


cdef extern from "ops/adam.h" nogil:
    int64_t rw_adam_ages(double beta1, double beta2)
    void rw_adam_corrections(double beta, int64_t ages, double *table)


cdef extern from "kernels/machine.h" nogil:
    double rw_measure_fma(const rw_kernels *k, int64_t rounds, const rw_run *run)
    uint64_t rw_measure_read(const rw_kernels *k, const void *data, size_t bytes, const rw_run *run)


cdef extern from "ops/targets.h" nogil:
    ctypedef struct rw_targets:
        const int64_t *rows
        const int64_t *labels
        const char *values
        rw_input kind
        Py_ssize_t row_stride, column_stride
        const int64_t *indptr
        const int32_t *columns
        int64_t n_entries
        const char *entries
        rw_dtype entry_dtype


cdef extern from "ops/loss.h" nogil:
    ctypedef enum rw_loss:
        RW_LOSS_SOFTMAX_CE, RW_LOSS_SIGMOID_BCE, RW_LOSS_MSE, RW_LOSS_HUBER, RW_LOSS_POISSON
        RW_LOSS_SQUARED_HINGE
    ctypedef struct rw_loss_spec:
        rw_loss kind
        double delta
        double smoothing
        const double *class_weight
    size_t rw_loss_scratch(const rw_tiles *z)
    rw_status rw_loss_eval(const rw_kernels *k, const rw_loss_spec *spec, const rw_tiles *z, const rw_targets *targets,
                           const double *weight, rw_tiles *dz, double *scratch, uint8_t *right, double *loss,
                           const rw_run *run)
    rw_status rw_agreement(const rw_kernels *k, const rw_tiles *z, const rw_targets *targets, double threshold,
                           double *scratch, double *counts, const rw_run *run)
    rw_status rw_softmax(const rw_kernels *k, rw_tiles *z, double *scratch, const rw_run *run)


cdef extern from "ops/predictor.h" nogil:
    ctypedef struct rw_predictor:
        pass
    ctypedef enum rw_numbers:
        RW_NUMBERS_FINE
        RW_NUMBERS_IN
        RW_NUMBERS_OUT
    rw_predictor *rw_predictor_new(rw_dtype dtype, int64_t n_in)
    void rw_predictor_free(rw_predictor *p)
    rw_status rw_predictor_add_store(rw_predictor *p, const rw_store *s, const void *bias, rw_act act, double slope,
                                     bint zeros)
    rw_status rw_predictor_add_matrix(rw_predictor *p, int64_t n_out, const void *weights, const void *bias,
                                      rw_act act, double slope)
    void rw_predictor_softmax(rw_predictor *p, bint softmax)
    int64_t rw_predictor_most(const rw_predictor *p)
    int32_t rw_predictor_outputs(const rw_predictor *p)
    size_t rw_predictor_bytes(const rw_predictor *p)
    int rw_predictor_way(const rw_predictor *p, int32_t i)
    size_t rw_predictor_scratch(const rw_predictor *p, int64_t batch)
    rw_status rw_predictor_run(const rw_kernels *k, const rw_predictor *p, const rw_user_rows *rows, int64_t batch,
                               char *out, Py_ssize_t row_stride, Py_ssize_t column_stride, void *scratch,
                               size_t bytes, rw_numbers *found, const rw_run *run)


cdef extern from "ops/rows.h" nogil:
    ctypedef struct rw_user_out:
        char *data
        Py_ssize_t row_stride, column_stride
    bint rw_out_is_plain(const rw_user_out *out, int64_t rows, int64_t columns, size_t size)
    size_t rw_rows_forward_scratch(const rw_store *s, int64_t batch, int threads)
    size_t rw_rows_backward_scratch(const rw_store *s, int64_t batch)
    rw_status rw_rows_forward(const rw_kernels *k, const rw_store *s, const rw_user_rows *x, int64_t batch,
                              const void *bias, const rw_user_out *y, void *scratch, size_t bytes,
                              const rw_run *run)
    rw_status rw_rows_backward(const rw_kernels *k, const rw_store *s, const rw_user_rows *x,
                               const rw_user_rows *g, int64_t batch, const rw_user_out *dx, void *dw,
                               void *dbias, void *scratch, size_t bytes, const rw_run *run)


cdef extern from "ops/r2.h" nogil:
    int RW_R2_QUANTITIES
    size_t rw_r2_scratch(const rw_tiles *z)
    rw_status rw_r2(const rw_kernels *k, const rw_tiles *z, const rw_targets *targets, const double *weight,
                    double *scratch, double *sums, double *total, int threads)


cdef extern from "base/par.h" nogil:
    int rw_openmp()
    int rw_openmp_max_threads()
