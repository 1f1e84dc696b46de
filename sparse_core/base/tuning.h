/* tuning.h -- numbers chosen for speed that do not depend on the instruction set, with reasons.
 *
 * None of them changes a result: order.h has those that would. Those that belong to the kernels of
 * one instruction set stand beside them (kernels_tuning.h). All other numbers above 64 in the core
 * are bounds or definitions, named beside their use. The figures here were taken while the pass in
 * question was written, on an Intel Xeon or an AMD EPYC; bench/ prints what comes of them. */
#ifndef RW_TUNING_H
#define RW_TUNING_H

enum {
    /* --- threads and polls ------------------------------------------------------------ */

    /* Multiply-adds worth a thread: starting one costs a few microseconds. */
    RW_WORK_PER_THREAD = 50000,
    /* Multiply-adds of each thread between two polls: 20 ms at 10 GFLOP/s. */
    RW_POLL_WORK = 100000000,

    /* --- what passes cost --------------------------------------------------------------
     * In multiply-adds, for the two numbers above. Estimates good to a factor of two: they
     * decide on how many threads a pass runs, and nothing else. */

    RW_COST_ZEROS_VALUE = 4,
    RW_COST_DRAW_VALUE = 300,    /* a weight of a new link                       */
    RW_COST_DEEPR_VALUE = 30,
    RW_COST_MERGE_SLOT = 50,     /* a slot of one of the stores of merge.c        */
    RW_COST_DERIVE_VALUE = 2,    /* of topkast.h, average.h: memory traffic      */
    RW_COST_UPDATE_VALUE = 4,    /* of an optimizer's step: memory traffic       */
    RW_COST_DROPOUT_VALUE = 2,
    RW_COST_SRELU_VALUE = 4,
    RW_COST_NORM_VALUE = 4,
    RW_COST_SIDES_VALUE = 2,     /* of sides.h: memory traffic                   */
    RW_COST_WINNERS_VALUE = 20,  /* a pass over all rows for each bit or so      */
    RW_COST_WHT_VALUE = 8,       /* of wht.h: memory traffic                     */
    RW_COST_LOSS_VALUE = 10,
    RW_COST_R2_VALUE = 10,
    RW_COST_NONZERO_VALUE = 10,  /* of nonzeros.h: a slot that is reached, and one of its values */

    /* --- threads of a rewiring --------------------------------------------------------- */

    /* Slots, or new links, that are worth a thread in a rewiring: each pass is a region of its own, over
     * what another core wrote in the last step. On two idle cores (bench/rewiring.py) two threads took 1.2
     * to 1.5 times as long as one to commit 50,000 to 112,000 slots, and 0.6 to 1.0 of it, in three runs, at
     * 200,000 to 670,000. At 10,000 they took 1.3 of it in one run and 0.75 in another, and beside a busy
     * core six times. More than two threads were not measured. Tests share small layers among threads
     * too. */
#ifdef RW_TEST
    RW_COMMIT_SLOTS = 250,
    RW_MIRROR_SLOTS = 12500,
    RW_PRUNE_SLOTS = 1250,
    RW_GROW_LINKS = 500,
#else
    RW_COMMIT_SLOTS = 100000,
    RW_MIRROR_SLOTS = 100000,
    RW_PRUNE_SLOTS = 10000,
    RW_GROW_LINKS = 4000,
#endif

    /* --- how passes over a store are cut ------------------------------------------------ */

    /* Values of a block for passes that do little to each (blocks.h): some 10 us. */
    RW_BLOCK_VALUES = 8192,
    /* Slots of a buffer while a layer is written anew: a second-level cache holds some buffers. */
    RW_COMMIT_CHUNK = 8192,
    /* Chunks of each thread at least, so that small layers are shared too. */
    RW_COMMIT_CHUNKS = 2,
    /* Slots of a piece in prune.c: 4 us of a pass. Each thread does so many pieces between two
     * polls: 10 ms. */
    RW_PRUNE_PIECE = 2048,
    RW_PRUNE_POLL_PIECES = 2048,
    /* Slots that prune.c collects and sorts rather than count once more: one pass is enough for
     * most layers, two for all but strange ones. */
    RW_PRUNE_SORTED = 4096,
    /* prune_few.c: slots of its sample, and neighbours in it; the highest rank in it that is looked
     * for; candidates that are listed and sorted; and how many slots one thread passes over sooner than several do what
     * prune.c does. */
    RW_FEW_SAMPLE = 2048,
    RW_FEW_RUN = 16,
    RW_FEW_RANK = 32,
    RW_FEW_LISTED = 2048,
    RW_FEW_SLOTS = 1 << 20,
    /* New weights that one thread draws at a time. Each thread does so many runs between two
     * polls: 10 ms. */
    RW_VALUES_RUN = 512,
    RW_VALUES_POLL_RUNS = 256,
    /* New links of each thread between two polls in grow_random.c: 20 ms. */
    RW_GROW_POLL_LINKS = 1000000,
    /* Draws that are sorted by insertion sooner than by digits, and the bits of a digit: its
     * buckets lie in the first-level cache. */
    RW_INSERTION_SORT = 32,
    RW_DIGIT_BITS = 11,
    /* Edits of one group that are made where its slots lie, by moving what lies between; more are
     * merged into it as it is written anew. */
    RW_EDIT_FEW = 8,
    /* An edit is carried into the mirror while the groups that it touches have at most one of so
     * many slots: else building it again costs no more. */
    RW_MIRROR_CARRY_PART = 8,
    /* A mirror has one free entry in so many for new links, and some more, so that small layers grow
     * into it. Layers in training build theirs anew, and would only pay for more. */
    RW_MIRROR_SLACK_PART = 64,
    RW_MIRROR_SPARE = 64,
    /* A window that is full asks its neighbours for a free entry for so many that it has. */
    RW_MIRROR_ROOM_PART = 16,
    /* It is built for so many sources for each slot and group, and as many as that in any layer:
     * 12 bytes a source. */
    RW_MIRROR_SOURCES = 16,
    RW_MIRROR_ALWAYS = 65536,
    /* merge.c: one of so many groups is looked at for a floor, but not more than so many in all, and
     * none of fewer; blocks of each thread between two polls, 10 ms; and in a round, whose slots
     * stay in a second-level cache. Scores near the last one that stays: most often twice as many as
     * links too many, so this is enough. */
    RW_MERGE_SAMPLE_PART = 8,
    RW_MERGE_SAMPLE_MOST = 256,
    RW_MERGE_SAMPLE_LEAST = 64,
    RW_MERGE_POLL_BLOCKS = 256,
    RW_MERGE_ROUND_BLOCKS = 16,
    RW_MERGE_NEAR = 4,
    /* Removals whose sources are looked up ahead of a merge (rw_plan_keep_common), so that it
     * waits for nothing but its last step. */
    RW_MERGE_AHEAD = 256,

    /* --- how transforms are cut ------------------------------------------------------------ */

    /* Bytes of a feature's samples in a task of wht.c, at least: a cache line. */
    RW_WHT_BYTES = 64,

    /* --- how sums over samples are cut ----------------------------------------------------- */

    /* Outputs of a task in r2.c: some 60 us with a span of samples. */
    RW_R2_TASK_OUTPUTS = 128,

    /* --- how users' arrays are packed ------------------------------------------------------ */

    /* Features a task packs. */
    RW_PACK_TASK_FEATURES = 128,

    /* CSR rows stay lists (nonzeros.h) where at most one input of so many is listed: a value of a
     * list takes as long as so many in tiles, which depends on whether a tile of inputs is near. */
    RW_NONZERO_PART = 32,
    RW_NONZERO_PART_NEAR = 128,

    /* --- how layers go through users' arrays (rows.h) ---------------------------------------- */

    /* Bytes of inputs and outputs that are in tiles at a time: half of a second-level cache. But
     * each thread has some tiles, so that all end at about the same time. */
    RW_ROWS_BYTES = 256 << 10,
    RW_ROWS_TILES = 4,

    /* --- how predictors keep weights (predictor.h) -------------------------------------------- */

    /* One sample: a store becomes a matrix where its slots are at least one in so many of the
     * matrix's values: in so many of one that stays in a near cache, of RW_MATRIX_NEAR bytes. A larger one
     * than RW_MATRIX_MOST would cost more memory than it is worth. */
    RW_MATRIX_VALUES = 6,
    RW_MATRIX_NEAR_VALUES = 12,
    RW_MATRIX_NEAR = 256 << 10,
    RW_MATRIX_MOST = 4 << 20,
    /* Slots of a source, on average, from which on a copy by source pays: each source ends with a
     * jump that the machine cannot foresee. */
    RW_SOURCE_SLOTS = 4,
    /* Of ten sources so many may be other than 0 for one thread to be quicker by source than by rows. */
    RW_SOURCE_TENTHS = 9,

    /* --- how growth selects ------------------------------------------------------------------ */

    /* Up to so many candidates for each new link, growth by gradient notes all candidates, in 13
     * bytes each. With more of them it selects from a stream, in 64 bytes for each new link and
     * each thread. */
    RW_GROW_CANDIDATES = 6,
    /* One of so many blocks of rows is the sample that estimates the final threshold. The estimate
     * is so low that about RW_GROW_MARGIN times the wanted number of candidates should pass it. */
    RW_GROW_SAMPLE = 16,
    RW_GROW_MARGIN = 2
};

#endif
