/* kernels_limits.h -- what the machine can do: the limits that products are measured against. */

#define RW_CHAINS 12 /* of multiply-adds: two a cycle, each 4 cycles long, and some to spare */

RW_KERNEL double RW_E(multiply_add)(int64_t rounds, double factor, double term)
{
    RW_WIDE acc[RW_CHAINS], w = RW_V(set1)((RW_T)factor), t = RW_V(set1)((RW_T)term);
    RW_UNROLL
    for (int i = 0; i < RW_CHAINS; i++)
        acc[i] = RW_V(set1)((RW_T)i); /* all different, or a compiler keeps one chain for all */
    for (int64_t r = 0; r < rounds; r++) {
        RW_UNROLL
        for (int i = 0; i < RW_CHAINS; i++)
            acc[i] = RW_V(fma)(acc[i], w, t);
    }
    double sum = 0;
    RW_UNROLL
    for (int i = 0; i < RW_CHAINS; i++)
        sum += (double)RW_V(sum)(acc[i]);
    return sum;
}

/* In whole numbers, copied out: what is read need not be numbers of this precision, nor begin at a multiple
 * of 8 bytes, as a panel's float32 of one sample do not. */
RW_KERNEL uint64_t RW_E(read)(const void *data, int64_t words)
{
    enum { AT_ONCE = 64 }; /* eight registers of the widest set */
    const char *p = data;
    uint64_t acc[AT_ONCE] = { 0 }, all = 0, word;
    int64_t i = 0;
    for (; i + AT_ONCE <= words; i += AT_ONCE)
        for (int j = 0; j < AT_ONCE; j++) {
            memcpy(&word, p + (size_t)(i + j) * sizeof word, sizeof word);
            acc[j] ^= word;
        }
    for (; i < words; i++) {
        memcpy(&word, p + (size_t)i * sizeof word, sizeof word);
        all ^= word;
    }
    for (int j = 0; j < AT_ONCE; j++)
        all ^= acc[j];
    return all;
}

#undef RW_CHAINS
