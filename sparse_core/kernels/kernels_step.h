/* kernels_step.h -- steps of optimizers (part of kernels_element.h). */

/* Every flag is a constant at the call: what is off costs nothing. */
RW_INLINE void RW_E(sgd)(const rw_update *u, RW_T *restrict w, RW_T *restrict m,
                         const RW_T *restrict g, size_t n, const bool momentum,
                         const bool nesterov, const bool l2, const bool shrinks)
{
    RW_T lr = (RW_T)u->lr, mu = (RW_T)u->momentum, decay = (RW_T)u->decay;
    RW_T shrink = (RW_T)(u->decay_kind == RW_DECAY_PER_STEP ? u->decay : u->lr * u->decay);
    for (size_t i = 0; i < n; i++) {
        RW_T weight = w[i], grad = g[i];
        if (l2)
            grad += decay * weight;
        RW_T step = grad;
        if (momentum) {
            RW_T moment = mu * m[i] + grad;
            m[i] = moment;
            step = nesterov ? grad + mu * moment : moment;
        }
        if (shrinks)
            weight -= shrink * weight;
        w[i] = weight - lr * step;
    }
}

RW_INLINE void RW_E(sgd_decay)(const rw_update *u, RW_T *w, RW_T *m, const RW_T *g, size_t n,
                               const bool momentum, const bool nesterov)
{
    if (u->decay == 0)
        RW_E(sgd)(u, w, m, g, n, momentum, nesterov, false, false);
    else if (u->decay_kind == RW_DECAY_L2)
        RW_E(sgd)(u, w, m, g, n, momentum, nesterov, true, false);
    else
        RW_E(sgd)(u, w, m, g, n, momentum, nesterov, false, true);
}

RW_INLINE void RW_E(step_sgd)(const rw_update *u, RW_T *w, RW_T *m, RW_T *v, const int32_t *born,
                              int32_t width, const RW_T *g, int64_t n)
{
    (void)v, (void)born, (void)width;
    if (u->momentum == 0)
        RW_E(sgd_decay)(u, w, m, g, (size_t)n, false, false);
    else if (u->nesterov)
        RW_E(sgd_decay)(u, w, m, g, (size_t)n, true, true);
    else
        RW_E(sgd_decay)(u, w, m, g, (size_t)n, true, false);
}

/* Some weights at a time, a bound of the stack: the corrections by age and the roots (which
 * compilers do not vectorise while errno matters) have a place there. */
#define RW_ADAM_BLOCK 64

RW_INLINE void RW_E(adam_block)(const rw_update *u, RW_T *restrict w, RW_T *restrict m,
                                RW_T *restrict v, const RW_T *restrict g,
                                const RW_T *restrict rate, const RW_T *restrict correction,
                                int n, const bool aged)
{
    RW_T b1 = (RW_T)u->beta1, b2 = (RW_T)u->beta2, eps = (RW_T)u->eps;
    RW_T a1 = (RW_T)(1 - u->beta1), a2 = (RW_T)(1 - u->beta2);
    bool l2 = u->decay != 0 && u->decay_kind == RW_DECAY_L2;
    RW_T decay = (RW_T)(l2 ? u->decay : 0);
    RW_T shrink = (RW_T)(u->decay == 0 || l2 ? 0
                         : u->decay_kind == RW_DECAY_PER_STEP ? u->decay : u->lr * u->decay);
    RW_T root[RW_ADAM_BLOCK];
    for (int i = 0; i < RW_ADAM_BLOCK; i++)
        root[i] = 0;
    for (int i = 0; i < n; i++) {
        RW_T grad = g[i] + decay * w[i];
        m[i] = b1 * m[i] + a1 * grad;
        v[i] = b2 * v[i] + a2 * grad * grad;
        root[i] = v[i] * (aged ? correction[i] : correction[0]);
    }
    for (int i = 0; i < n; i += RW_WIDE_LANES)
        RW_V(store)(root + i, RW_V(sqrt)(RW_V(load)(root + i)));
    for (int i = 0; i < n; i++)
        w[i] = w[i] - shrink * w[i] - (aged ? rate[i] : rate[0]) * m[i] / (root[i] + eps);
}

/* What a slot of some age is corrected by: of its step, and of the mean of squares. */
RW_INLINE void RW_E(adam_rates)(const rw_update *u, int64_t age, RW_T *rate, RW_T *correction)
{
    age = rw_max64(age, 1);
    bool known = age < u->n_correction;
    *rate = (RW_T)(known ? u->lr * u->correction1[age] : u->lr);
    *correction = (RW_T)(known ? u->correction2[age] : 1.0);
}

RW_INLINE void RW_E(step_adam)(const rw_update *u, RW_T *w, RW_T *m, RW_T *v,
                               const int32_t *born, int32_t width, const RW_T *g, int64_t n)
{
    RW_T rate[RW_ADAM_BLOCK], correction[RW_ADAM_BLOCK];
    RW_E(adam_rates)(u, u->step, rate, correction);
    for (int64_t done = 0; done < n; done += RW_ADAM_BLOCK) {
        int count = (int)rw_min64(RW_ADAM_BLOCK, n - done);
        if (!born) {
            RW_E(adam_block)(u, w + done, m + done, v + done, g + done, rate, correction, count,
                             false);
            continue;
        }
        for (int i = 0; i < count; i += width) { /* a slot's values never straddle a block */
            RW_E(adam_rates)(u, u->step - *born++ + 1, rate + i, correction + i);
            for (int r = 1; r < width; r++) {
                rate[i + r] = rate[i];
                correction[i + r] = correction[i];
            }
        }
        RW_E(adam_block)(u, w + done, m + done, v + done, g + done, rate, correction, count, true);
    }
}

RW_KERNEL void RW_E(update)(const rw_update *u, void *w, void *m, void *v, const int32_t *born,
                            int32_t width, const void *g, int64_t n)
{
#define RW_OPT_STEP(CONSTANT, name, keeps)                       \
    case RW_OPT_##CONSTANT:                                      \
        RW_E(step_##name)(u, w, m, v, born, width, g, n);        \
        break;
    switch (u->kind) {
        RW_OPTIMIZERS(RW_OPT_STEP)
    case RW_OPT_COUNT:
        break;
    }
#undef RW_OPT_STEP
}

#undef RW_ADAM_BLOCK
