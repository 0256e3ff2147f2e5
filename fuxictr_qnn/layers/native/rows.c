/* Activation, dropout, pooling and product of rows in one sweep over memory; `_pooled_rows.py` says the same with
 * NumPy and torch.
 *
 * float32 only. The random bits are NumPy's SFC64 stream, so a mask does not depend on which of the two drew it.
 * Threads are those of the OpenMP that torch has loaded: a second set would fight the first for the cores.
 * Values are multiplied by the mask, not chosen by it: NaN and infinity stay visible in the sums.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int omp_get_thread_num(void); /* clang may come without omp.h */

#define LANE 65536 /* a draw has 16 bits: an element is kept when its draw is below `threshold` */
#define GROUP 4    /* rows of the batch whose bits are drawn together: a whole number of 64-bit words */

static inline uint64_t sfc64(uint64_t *restrict s) {
    const uint64_t drawn = s[0] + s[1] + s[3]++;
    s[0] = s[1] ^ (s[1] >> 11);
    s[1] = s[2] + (s[2] << 3);
    s[2] = ((s[2] << 24) | (s[2] >> 40)) + drawn;
    return drawn;
}

/* The draws of one pass, for a few rows of the batch at a time; of none where everything is kept. */
struct draws {
    uint64_t state[4], *words;
    int64_t size; /* draws a row */
    int failed;
};

static struct draws begin_draws(const uint64_t *state, int32_t threshold, int64_t size) {
    struct draws draws = {.size = size};
    if (threshold < LANE) {
        memcpy(draws.state, state, sizeof draws.state);
        draws.words = malloc(sizeof(uint64_t) * size * GROUP / 4);
        draws.failed = !draws.words;
    }
    return draws;
}

/* The draws of row r; the rows have to be asked for in turn. */
static const uint16_t *next_draws(struct draws *draws, int64_t r, int64_t rows) {
    if (!draws->words) return NULL;
    if (r % GROUP == 0) {
        const int64_t group = rows - r < GROUP ? rows - r : GROUP, count = (group * draws->size + 3) / 4;
        uint64_t state[4]; /* a copy, which the words cannot alias */
        memcpy(state, draws->state, sizeof state);
        for (int64_t i = 0; i < count; i++) draws->words[i] = sfc64(state);
        memcpy(draws->state, state, sizeof state);
    }
    return (const uint16_t *)draws->words + r % GROUP * draws->size;
}

/* out (width) = out * mask / keep. */
static void drop_row(float *restrict out, const uint16_t *restrict u, int32_t threshold, int64_t width,
                     uint8_t *restrict mask) {
    const float keep = (float)threshold / LANE;
    for (int64_t d = 0; d < width; d++) {
        const int32_t kept = u[d] < threshold;
        mask[d] = (uint8_t)kept;
        out[d] = out[d] * (float)kept / keep;
    }
}

/* sums (width) = sum over m of v * mask / keep with v = z (depth, width) + bias; u: the draws, or NULL to keep all. */
static void pool_row(const float *restrict z, const float *restrict bias, const uint16_t *restrict u, int64_t depth,
                     int64_t width, float floor, int32_t threshold, float *restrict sums, uint8_t *restrict mask) {
    memset(sums, 0, sizeof(float) * width);
    for (int64_t m = 0; m < depth; m++, z += width, bias += width, mask += width) {
        if (u) {
            for (int64_t d = 0; d < width; d++) {
                const float v = z[d] + bias[d];
                const int32_t kept = (u[d] < threshold) & !(v <= floor);
                mask[d] = (uint8_t)kept;
                sums[d] += v * (float)kept;
            }
            u += width;
        } else
            for (int64_t d = 0; d < width; d++) {
                const float v = z[d] + bias[d];
                const int32_t kept = !(v <= floor);
                mask[d] = (uint8_t)kept;
                sums[d] += v * (float)kept;
            }
    }
    if (threshold < LANE) {
        const float keep = (float)threshold / LANE;
        for (int64_t d = 0; d < width; d++) sums[d] /= keep;
    }
}

/* For each pass: sums (rows, width) = sum over m of the kept, where `relu` positive, z (rows, m, width) + bias
 * (m, width), over keep. With x also out = x + x[order] * sums (rows, width), kept where the draws of `after_states`
 * are below `after`, over that keep; order: where each factor stands in its row, or NULL: in its place. bias and x may
 * be NULL. Returns how many passes had no memory. */
int pool(const float *z, const float *bias, const float *x, const int64_t *order, int64_t rows, int64_t depth,
         int64_t width, int32_t relu, int32_t threshold, int32_t after, int64_t passes, uint64_t *const *states,
         uint64_t *const *after_states, float *const *sums, float *const *outs, uint8_t *const *masks,
         uint8_t *const *after_masks, int32_t threads) {
    const int64_t size = depth * width;
    const float floor = relu ? 0.0f : -__builtin_inff();
    int failed = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : failed)
    for (int64_t p = 0; p < passes; p++) {
        struct draws inner = begin_draws(states[p], threshold, size);
        struct draws outer = begin_draws(after < LANE ? after_states[p] : NULL, after, width);
        float *zeros = bias ? NULL : calloc(size, sizeof(float));
        if (inner.failed || outer.failed || (!bias && !zeros)) {
            failed++;
        } else {
            for (int64_t r = 0; r < rows; r++) {
                const uint16_t *u = next_draws(&inner, r, rows);
                float *restrict s = sums[p] + r * width;
                pool_row(z + r * size, bias ? bias : zeros, u, depth, width, floor, threshold, s, masks[p] + r * size);
                if (!x) continue;
                const float *restrict from = x + r * width;
                float *restrict out = outs[p] + r * width;
                if (order)
                    for (int64_t d = 0; d < width; d++) out[d] = from[d] + from[order[d]] * s[d];
                else
                    for (int64_t d = 0; d < width; d++) out[d] = from[d] + from[d] * s[d];
                if ((u = next_draws(&outer, r, rows))) drop_row(out, u, after, width, after_masks[p] + r * width);
            }
        }
        free(inner.words);
        free(outer.words);
        free(zeros);
    }
    return failed;
}

/* The gradients of `pool`: dz (rows, m, width); dbias (m, width) added to, where not NULL; dx (rows, width) unless x
 * is NULL, when the given gradients are those of the sums. after_masks: NULL where nothing was dropped from the
 * outputs. Each thread adds up its rows' part of dbias; the parts are added in the threads' order, so that sums have
 * one. Returns how many threads had no memory. */
int spread(const float *const *gradients, const uint8_t *const *masks, const uint8_t *const *after_masks,
           const float *const *sums, const float *x, const int64_t *order, int64_t passes, int64_t rows, int64_t depth,
           int64_t width, float keep, float after_keep, float *dz, float *dbias, float *dx, int32_t threads) {
    const int64_t size = depth * width;
    float *parts = dbias ? calloc(threads * size, sizeof(float)) : NULL;
    if (dbias && !parts) return threads;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(+ : failed)
    {
        float *bias = dbias ? parts + omp_get_thread_num() * size : NULL;
        float *scratch = malloc(sizeof(float) * (passes + 3) * width);
        float *scaled = scratch, *g = scratch + passes * width, *factor = g + width, *dfactor = factor + width;
        failed += !scratch;
#pragma omp for
        for (int64_t r = 0; r < rows; r++) {
            if (!scratch) continue;
            const int64_t at = r * width;
            if (x)
                for (int64_t d = 0; d < width; d++) {
                    factor[d] = x[at + (order ? order[d] : d)];
                    dfactor[d] = dx[at + d] = 0;
                }
            for (int64_t p = 0; p < passes; p++) {
                float *restrict t = scaled + p * width;
                if (!x) {
                    for (int64_t d = 0; d < width; d++) t[d] = gradients[p][at + d] / keep;
                    continue;
                }
                if (after_masks)
                    for (int64_t d = 0; d < width; d++)
                        g[d] = gradients[p][at + d] * (float)after_masks[p][at + d] / after_keep;
                else
                    memcpy(g, gradients[p] + at, sizeof(float) * width);
                for (int64_t d = 0; d < width; d++) {
                    t[d] = g[d] * factor[d] / keep;
                    dfactor[d] += g[d] * sums[p][at + d];
                    dx[at + d] += g[d];
                }
            }
            if (x)
                for (int64_t d = 0; d < width; d++) dx[at + (order ? order[d] : d)] += dfactor[d];
            for (int64_t m = 0; m < depth; m++) {
                float *restrict out = dz + r * size + m * width;
                for (int64_t p = 0; p < passes; p++) {
                    const float *restrict t = scaled + p * width;
                    const uint8_t *restrict k = masks[p] + r * size + m * width;
                    if (p == 0)
                        for (int64_t d = 0; d < width; d++) out[d] = t[d] * (float)k[d];
                    else
                        for (int64_t d = 0; d < width; d++) out[d] += t[d] * (float)k[d];
                }
                if (bias) {
                    float *restrict b = bias + m * width;
                    for (int64_t d = 0; d < width; d++) b[d] += out[d];
                }
            }
        }
        free(scratch);
    }
    for (int32_t t = 0; parts && t < threads; t++)
        for (int64_t i = 0; i < size; i++) dbias[i] += parts[t * size + i];
    free(parts);
    return failed;
}
