"""Ways to get losses, R2, norms, S-shapes and standardised tiles wrong that slip through a review.

As in `list.py`; the tests that catch them are those of the kernels.
"""

from mutants.list import Mutant

MUTANTS = [
    # --- losses
    Mutant(
        "loss-not-shared-by-outputs",
        "ops/loss.c",
        "softmax ? 1 : 1.0 / z->n",
        "1",
        "test_losses_and_gradients",
    ),
    Mutant(
        "class-weights-not-in-the-mean",
        "ops/loss.c",
        "            w *= j->spec.class_weight ? j->spec.class_weight[label] : 1;\n",
        "",
        "test_losses_and_gradients",
    ),
    Mutant(
        "nan-of-a-sample-without-weight",
        "ops/loss_parts.h",
        "(!j->softmax && rw_loss_factor(j, p, b) == 0)",
        "false",
        "test_samples_without_weight",
    ),
    Mutant(
        "last-block-alone",
        "ops/loss_parts.h",
        ": to[b] + from[b];",
        ": from[b];",
        "test_losses_have_one_order",
    ),
    Mutant(
        "lanes-by-run",
        "ops/loss_parts.h",
        "return (i - p->i0) % RW_SUM_LANES * p->width;",
        "return 0 * (i - p->i0) * p->width;",
        "test_losses_have_one_order",
    ),
    Mutant(
        "smoothing-takes-and-does-not-give",
        "ops/softmax.c",
        "(keep * t[b] + even)",
        "(keep * t[b] + 0 * even)",
        "test_losses_and_gradients",
    ),
    Mutant(
        "first-of-its-block",
        "ops/softmax.c",
        "block < p->block; block++",
        "block < 0; block++",
        "test_right_outputs",
    ),
    Mutant(
        "label-has-no-gradient",
        "ops/softmax.c",
        "share[b] * at_label[b] - 1)",
        "share[b] * at_label[b])",
        "test_losses_and_gradients",
    ),
    Mutant(
        "entry-at-the-block's-edge",
        "ops/targets.c",
        "all->columns[middle] < i0",
        "all->columns[middle] <= i0",
        "test_targets_as_they_come",
    ),
    Mutant(
        "huber-on-one-side",
        "kernels/kernels_loss.h",
        "    within = within < -delta ? -delta : within;\n",
        "",
        "test_losses_and_gradients",
    ),
    Mutant(
        "class-that-cannot-be",
        "kernels/kernels_loss.h",
        "(t[k] != 0 ? ~UINT64_C(0) : 0, part)",
        "(~UINT64_C(0), part)",
        "test_losses_stay_finite",
    ),
    # --- R2
    Mutant(
        "r2-reads-what-does-not-count",
        "kernels/kernels_loss.h",
        "            off = w != 0 ? off : 0;\n",
        "",
        "test_r2_to_its_bounds",
    ),
    Mutant(
        "extremes-of-what-does-not-count",
        "ops/r2.c",
        "            if (!whole)\n                fill_in(t, w, rows, width);\n",
        "            (void)whole, (void)fill_in;\n",
        "test_r2_to_its_bounds",
    ),
    Mutant(
        "means-apart-tell-nothing",
        "ops/r2.c",
        "theirs[i] + delta * delta * apart;",
        "theirs[i] + 0 * delta * apart;",
        "test_r2_to_its_bounds",
    ),
    Mutant(
        "share-of-the-others",
        "ops/r2.c",
        "more / (total + more), apart",
        "more / (total + total), apart",
        "test_r2_to_its_bounds",
    ),
    Mutant(
        "r2-starts-at-the-wrong-sample-of-a-tile",
        "ops/r2.c",
        "(size_t)(sample % z->tile))",
        "(size_t)(sample % z->tile / 2))",
        "test_r2_of_wide_tiles",
    ),
    Mutant(
        "infinity-is-a-number",
        "ops/tiles.c",
        "#define EXPONENT_F32 UINT32_C(0x7f800000)",
        "#define EXPONENT_F32 UINT32_C(0x7fc00000)",
        "test_tiles_finite",
    ),
    # --- norms, S-shapes, standardised tiles
    Mutant(
        "variance-of-a-sample",
        "kernels/kernels_norm.h",
        "sqrt((double)squares[b] / n + eps)",
        "sqrt((double)squares[b] / (n > 1 ? n - 1 : 1) + eps)",
        "test_layer_norm",
    ),
    Mutant(
        "gradient-along-the-norm-kept",
        "kernels/kernels_norm.h",
        "(gain[i] * dy[b] - mean[b] - z[b] * along[b]) * inverse[b]",
        "(gain[i] * dy[b] - mean[b] - 0 * z[b] * along[b]) * inverse[b]",
        "test_layer_norm",
    ),
    Mutant(
        "moments-of-the-last-tile",
        "kernels/kernels_norm.h",
        "out[i] = add ? out[i] + found : found;",
        "(void)add, out[i] = found;",
        "test_batch_norm",
    ),
    Mutant(
        "knees-that-pass-each-other",
        "kernels/kernels_element.h",
        "        k.tr = k.tl, k.apart = false;\n",
        "        k.apart = false;\n",
        "test_srelu",
    ),
    Mutant(
        "csr-not-standardised",
        "ops/tiles.c",
        "return in->mean ? (v - in->mean[i]) * in->scale[i] : v;",
        "return in->mean ? v * in->scale[i] - in->mean[i] : v;",
        "test_packing_csr",
    ),
    # --- inputs of which few are not zero
    Mutant(
        "two-samples-of-one-lane-rounded-apart",
        "kernels/kernels_nonzeros.h",
        "& (lanes - 1)) == 0;",
        "& (lanes - 1)) == -1;",
        "test_few_inputs_give_the_bits_of_tiles",
    ),
    Mutant(
        "slots-filed-where-they-are-counted",
        "ops/nonzeros.c",
        "            *count = total;\n            total += here;\n",
        "            total += here;\n            *count = total - 1;\n",
        "test_few_inputs_give_the_bits_of_tiles",
    ),
    Mutant(
        "the-only-value-is-the-first",
        "ops/nonzeros.c",
        "if (first[i + 1] - first[i] != 1)",
        "if (first[i + 1] - first[i] < 1)",
        "test_few_inputs_give_the_bits_of_tiles",
    ),
    Mutant(
        "whole-source-without-its-zero",
        "ops/nonzeros.c",
        "double absent = input_absent(in, in->whole[i]);",
        "double absent = 0 * input_absent(in, in->whole[i]);",
        "test_few_inputs_with_means",
    ),
    Mutant(
        "means-not-in-the-biases",
        "ops/nonzero_layer.c",
        "        bias = x->folded.data;\n",
        "",
        "test_few_inputs_with_means",
    ),
    Mutant(
        "gradients-without-the-means",
        "ops/gradient.c",
        "        rw_nonzero_add_means(s, d->few, g, mine);\n",
        "",
        "test_few_inputs_with_means",
    ),
]
