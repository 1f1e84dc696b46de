/* test_kernels.c -- kernels, tiles, layers and losses, without Python.
 *
 *      test_kernels [NAME]
 *
 * walks every table this machine runs, in both precisions, and ends with the
 * line "N passed, 0 failed". Built with -DRW_TEST. The chapters: */
#include "kernels/setup.h"
#include "kernels/products.h"
#include "kernels/order.h"
#include "kernels/elements.h"
#include "kernels/norms.h"
#include "kernels/transforms.h"
#include "kernels/updates.h"
#include "kernels/grow_gradient.h"
#include "kernels/nonzeros.h"
#include "kernels/tuned.h"
#include "kernels/bf16.h"
#include "kernels/hot.h"
#include "kernels/arrays.h"
#include "kernels/rows.h"
#include "kernels/losses.h"
#include "kernels/r2.h"
#include "kernels/moments.h"
#include "kernels/target_units.h"
#include "kernels/limits.h"
#include "kernels/predictor.h"

static void test_the_tables(void)
{
    FOR_EACH_KERNELS(k) {
        printf("        %s %s, %d lanes\n", k->name, k->dtype == RW_F32 ? "float32" : "float64",
               k->lanes);
        CHECK(rw_kernels_named(k->dtype, k->name) == k);
    }
    int n;
    for (int d = 0; d < 2; d++) {
        const rw_kernels *const *list = rw_kernels_list(DTYPES[d], &n);
        REQUIRE(n >= 1);
        CHECK(strcmp(list[n - 1]->name, "scalar") == 0);
        CHECK(rw_kernels_named(DTYPES[d], NULL) == list[0]);
        CHECK(rw_kernels_named(DTYPES[d], "") == list[0]);
        CHECK(rw_kernels_named(DTYPES[d], "no such set") == NULL);
    }
    rw_kernels_list(RW_I32, &n);
    CHECK(n == 0);
    CHECK(rw_kernels_named(RW_I32, "scalar") == NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        test_filter = argv[1];

    RUN(test_the_tables);

    RUN(test_products_are_right);
    RUN(test_a_sample_does_not_see_its_batch);
    RUN(test_a_group_is_its_rows);
    RUN(test_the_end_of_a_batch);
    RUN(test_threads_change_nothing);
    RUN(test_padding_survives_infinity);
    RUN(test_the_canonical_order);

    RUN(test_activations);
    RUN(test_smooth_activations);
    RUN(test_activation_after_a_dense_layer);
    RUN(test_two_sides);
    RUN(test_srelu);
    RUN(test_winners);
    RUN(test_layer_norm);
    RUN(test_batch_norm);
    RUN(test_wht_is_its_definition);
    RUN(test_wht_is_its_own_inverse);
    RUN(test_wht_by_parts_of_tiles);
    RUN(test_switches);
    RUN(test_dropout_rate);
    RUN(test_dropout_keeps_the_mean);
    RUN(test_dropout_mask_is_one_mask);
    RUN(test_dropout_derivative_and_sums_in_one_pass);
    RUN(test_dropout_of_a_batch_in_parts);

    RUN(test_corrections_by_age);
    RUN(test_updates_follow_their_formulas);
    RUN(test_fused_is_two_halves);
    RUN(test_a_step_may_have_another_target);
    RUN(test_gradients_add_up);
    RUN(test_zeros_of_few_samples_have_one_sign);
    RUN(test_state_must_be_there);
    RUN(test_fields_over_live_values);
    RUN(test_fields_in_other_units);
    RUN(test_shapes_are_checked);
    RUN(test_a_poll_can_stop_it);
    RUN(test_a_step_allocates_nothing);

    RUN(test_all_gradients_in_order);
    RUN(test_threshold_scan);
    RUN(test_growth_by_gradient_is_exact);
    RUN(test_growth_does_not_depend_on_threads);
    RUN(test_gradients_that_are_not_finite);
    RUN(test_growth_that_is_refused);
    RUN(test_growth_without_memory);
    RUN(test_growth_can_be_stopped);

    RUN(test_few_inputs_give_the_bits_of_tiles);
    RUN(test_few_inputs_with_means);
    RUN(test_few_inputs_that_are_refused);
    RUN(test_few_inputs_without_memory);

    RUN(test_tuning_changes_no_bit);
    RUN(test_inputs_from_afar_are_read_in_order);
    RUN(test_strips_with_a_rest_fill_panels);
    RUN(test_a_poll_can_stop_it_within_panels);

    RUN(test_every_number_is_rounded_to_the_nearest);
    RUN(test_bf16_has_the_bits_of_rounded_operands);
    RUN(test_bf16_of_strange_numbers);
    RUN(test_bf16_keeps_the_sign_of_a_zero);
    RUN(test_bf16_of_products_too_small);
    RUN(test_bf16_takes_no_room_for_what_is_rounded);
    RUN(test_a_poll_can_stop_products_of_bf16);
    RUN(test_bf16_of_an_empty_layer);
    RUN(test_bf16_refuses);

    RUN(test_a_predictor_has_the_values_of_its_layers);
    RUN(test_a_predictor_of_matrices);
    RUN(test_a_predictor_tells_of_strange_numbers);
    RUN(test_a_predictor_refuses);
    RUN(test_a_predictor_without_memory);

    RUN(test_multiply_adds_are_counted);
    RUN(test_reads_reach_every_word);

    RUN(test_tile_sizes);
    RUN(test_tiles_are_shaped_and_zeroed);
    RUN(test_packing_every_kind);
    RUN(test_packing_csr);
    RUN(test_csr_in_range);
    RUN(test_csr_that_is_out_of_range_is_left_out);
    RUN(test_squares_of_every_size);
    RUN(test_tiles_in_memory_of_somebody_else);
    RUN(test_a_layer_on_users_arrays);
    RUN(test_arrays_that_overlap_themselves);
    RUN(test_passes_over_arrays_refuse);
    RUN(test_losses_and_gradients);
    RUN(test_losses_have_one_order);
    RUN(test_targets_as_they_come);
    RUN(test_right_outputs);
    RUN(test_classes_without_weight);
    RUN(test_exp_and_log1p_to_their_bounds);
    RUN(test_losses_stay_finite);
    RUN(test_samples_without_weight);
    RUN(test_loss_arguments);
    RUN(test_column_sums);
    RUN(test_block_moments);
    RUN(test_merged_moments);
    RUN(test_followed_targets);
    RUN(test_deviations);
    RUN(test_column_scales);
    RUN(test_changed_units);
    RUN(test_largest);
    RUN(test_r2_to_its_bounds);
    RUN(test_r2_has_one_order);
    RUN(test_r2_of_wide_tiles);
    RUN(test_r2_arguments);
    RUN(test_tiles_finite);

    printf("%d passed, %d failed\n", tests_passed, tests_failed);
    return tests_failed != 0;
}
