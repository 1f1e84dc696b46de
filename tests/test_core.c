/* test_core.c -- the store, its edits and its rules, without Python.
 *
 *      test_core [--soak EDITS] [--seed SEED] [NAME]
 *
 * runs the tests whose name holds NAME (all of them without it) and ends with
 * the line "N passed, 0 failed". --soak sets how many random edits the soak makes in each
 * of its four stores (25000; 2500000 is more like a soak), --seed which.
 *
 * Built from this file and the structure's sources, with -DRW_TEST. The chapters
 * lie in core/, in reading order: */
#include "core/harness.h"
#include "core/windows.h"
#include "core/plans.h"
#include "core/slots.h"
#include "core/links.h"
#include "core/asserting.h"
#include "core/copies.h"
#include "core/draws.h"
#include "core/grow_random.h"
#include "core/prune.h"
#include "core/merge.h"
#include "core/topk.h"
#include "core/grow_paths.h"
#include "core/rewirings.h"
#include "core/deepr.h"
#include "core/topkast.h"
#include "core/average.h"
#include "core/failing.h"
#include "core/soak.h"

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--soak") == 0 && i + 1 < argc)
            soak_edits = atoll(argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            soak_seed = strtoull(argv[++i], NULL, 10);
        else
            test_filter = argv[i];
    }

    RUN(test_sizes_are_checked);
    RUN(test_an_empty_store);
    RUN(test_find_gives_the_place);
    RUN(test_windows_come_and_go);
    RUN(test_small_windows_are_lost);
    RUN(test_growing_one_link_at_a_time);
    RUN(test_memory_stays_bounded_under_churn);
    RUN(test_a_full_rewiring_packs_the_layer);
    RUN(test_compaction);
    RUN(test_blocks_keep_their_contents);
    RUN(test_memory_follows_the_budget);
    RUN(test_memory_is_given_back);
#ifndef __SANITIZE_ADDRESS__ /* its shadow of a promise of 32 GiB is 4 GiB, touched */
    RUN(test_rows_beyond_slot_2_32);
    RUN(test_a_free_window_beyond_2_32);
    RUN(test_repacking_from_beyond_slot_2_32);
#endif

    RUN(test_bad_pairs_change_nothing);
    RUN(test_a_link_named_twice_for_removal);
    RUN(test_plan_check);
    RUN(test_a_stale_plan);
    RUN(test_preconditions_are_asserted);
    RUN(test_cancel_changes_nothing);
    RUN(test_insertions_join_removals);
    RUN(test_bad_insertions_leave_the_plan_alone);
    RUN(test_removals_as_arrays);
    RUN(test_common_links_stay);
    RUN(test_fields_follow_their_slots);
    RUN(test_slots_come_from_where_the_mapping_says);
    RUN(test_the_mapping_of_a_place_filled_again);
    RUN(test_field_names_and_limits);
    RUN(test_a_new_link_without_weights_gets_the_birth_value);
    RUN(test_stored_zeros_are_connections);
    RUN(test_groups_that_do_not_divide);
    RUN(test_a_pinned_store_refuses_edits);
    RUN(test_the_mirror);
    RUN(test_the_mirror_follows_edits);
    RUN(test_a_mirror_that_is_full);
    RUN(test_one_link_at_a_time);
    RUN(test_links_by_name);
    RUN(test_links_in_any_order);
    RUN(test_flat_arrays_go_round);
    RUN(test_blocks_make_the_same_store);
    RUN(test_links_one_by_one);
    RUN(test_garbage_is_not_loaded);
    RUN(test_clones_are_equal_and_independent);
    RUN(test_reverting);
    RUN(test_history_leaves_no_trace);
    RUN(test_merges_by_definition);
    RUN(test_merges_of_few_links_in_wide_rows);
    RUN(test_a_sample_that_misleads);
    RUN(test_a_merge_takes_what_it_keeps);
    RUN(test_merges_refuse_what_does_not_fit);
    RUN(test_interrupted_merges_change_nothing);
    RUN(test_blends_by_definition);
    RUN(test_structures_go_round);
    RUN(test_forged_structures);
    RUN(test_digests_tell_structures_apart);

    RUN(test_philox_known_answers);
    RUN(test_a_stream_has_a_number_and_a_worker);
    RUN(test_bounded_draws_are_fair);
    RUN(test_hypergeometric_mass);
    RUN(test_hypergeometric_moments_when_large);
    RUN(test_random_growth_is_exact);
    RUN(test_random_growth_is_uniform);
    RUN(test_random_growth_splits_in_proportion);
    RUN(test_stretches_draw_their_own_share);
    RUN(test_growth_does_not_depend_on_threads_or_layout);
    RUN(test_fan_in);
    RUN(test_paths_by_definition);
    RUN(test_paths_are_drawn_by_score);
    RUN(test_places_on_no_path_come_last);
    RUN(test_paths_are_the_same_on_many_threads);
    RUN(test_growth_by_paths_refuses);
    RUN(test_set_counts);
    RUN(test_set_takes_the_smallest);
    RUN(test_nan_goes_last);
    RUN(test_ties_go_by_hash);
    RUN(test_ties_of_many);
    RUN(test_pruning_many);
    RUN(test_pruning_a_few_of_many);
    RUN(test_pruning_below);
    RUN(test_pruning_by_scores);
    RUN(test_bad_scores);
    RUN(test_top_k_of_a_stream);
    RUN(test_streams_merge);
    RUN(test_a_stream_with_a_threshold);
    RUN(test_scores_that_are_no_numbers);
    RUN(test_rules_can_be_interrupted);
    RUN(test_rewirings_on_many_threads);
    RUN(test_growth_within_one_long_group);
    RUN(test_repacking_that_runs_ahead);
    RUN(test_values_of_new_links);
    RUN(test_a_new_link_s_value_does_not_depend_on_company);

    RUN(test_the_ziggurat_covers_the_curve);
    RUN(test_normal_numbers_are_normal);
    RUN(test_normal_numbers_have_names);
    RUN(test_overshoots);
    RUN(test_one_step_of_deepr);
    RUN(test_signs_are_taken_once);
    RUN(test_slots_of_zeros_go);
    RUN(test_zeros_without_memory);
    RUN(test_weights_follow_from_thetas);
    RUN(test_means_over_the_steps_that_a_slot_has_lived);
    RUN(test_the_forward_set_changes);
    RUN(test_passes_can_be_interrupted);

    RUN(test_every_allocation_may_fail);
    RUN(test_sizes_that_overflow);
    RUN(test_every_broken_invariant_is_named);
    RUN(test_soak);

    printf("%d passed, %d failed\n", tests_passed, tests_failed);
    return tests_failed != 0;
}
