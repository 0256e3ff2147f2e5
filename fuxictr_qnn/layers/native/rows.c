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

#define LANE 65536 /* a draw has 16 bits: an element is kept when its draw is below `threshold` */
#define GROUP 4    /* rows of the batch whose bits are drawn together: a whole number of 64-bit words */

static inline uint64_t sfc64(uint64_t *restrict s) {
    const uint64_t drawn = s[0] + s[1] + s[3]++;
    s[0] = s[1] ^ (s[1] >> 11);
    s[1] = s[2] + (s[2] << 3);
    s[2] = ((s[2] << 24) | (s[2] >> 40)) + drawn;
    return drawn;
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
 * (m, width), over keep; out = x + y * sums (rows, width) unless x is NULL. bias may be NULL.
 * Returns how many passes had no memory. */
int pool(const float *z, const float *bias, const float *x, const float *y, int64_t rows, int64_t depth, int64_t width,
         int32_t relu, int32_t threshold, int64_t passes, uint64_t *const *states, float *const *sums,
         float *const *outs, uint8_t *const *masks, int32_t threads) {
    const int64_t size = depth * width;
    const float floor = relu ? 0.0f : -__builtin_inff();
    int failed = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : failed)
    for (int64_t p = 0; p < passes; p++) {
        uint64_t state[4];
        uint64_t *words = threshold < LANE ? malloc(sizeof(uint64_t) * size * GROUP / 4) : NULL;
        float *zeros = bias ? NULL : calloc(size, sizeof(float));
        memcpy(state, states[p], sizeof state);
        if ((threshold < LANE && !words) || (!bias && !zeros)) {
            failed++;
            free(words);
            free(zeros);
            continue;
        }
        for (int64_t r = 0; r < rows; r++) {
            if (words && r % GROUP == 0) {
                const int64_t group = rows - r < GROUP ? rows - r : GROUP;
                for (int64_t i = 0; i < (group * size + 3) / 4; i++) words[i] = sfc64(state);
            }
            const uint16_t *u = words ? (const uint16_t *)words + r % GROUP * size : NULL;
            float *restrict s = sums[p] + r * width;
            pool_row(z + r * size, bias ? bias : zeros, u, depth, width, floor, threshold, s, masks[p] + r * size);
            if (x)
                for (int64_t d = 0; d < width; d++) outs[p][r * width + d] = x[r * width + d] + y[r * width + d] * s[d];
        }
        free(words);
        free(zeros);
    }
    return failed;
}

/* The gradients of `pool`: dz (rows, m, width); dbias (m, width) added to, where not NULL; dx and dy (rows, width)
 * unless y is NULL, when the given gradients are those of the sums. Returns how many threads had no memory. */
int spread(const float *const *gradients, const uint8_t *const *masks, const float *const *sums, const float *y,
           int64_t passes, int64_t rows, int64_t depth, int64_t width, float keep, float *dz, float *dbias, float *dx,
           float *dy, int32_t threads) {
    const int64_t size = depth * width;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(+ : failed)
    {
        float *bias = dbias ? calloc(size, sizeof(float)) : NULL;
        float *scaled = malloc(sizeof(float) * passes * width);
        failed += !scaled || (dbias && !bias);
#pragma omp for
        for (int64_t r = 0; r < rows; r++) {
            if (!scaled || (dbias && !bias)) continue;
            const int64_t at = r * width;
            for (int64_t p = 0; p < passes; p++) {
                const float *restrict g = gradients[p] + at;
                float *restrict t = scaled + p * width;
                if (y) {
                    const float *restrict s = sums[p] + at;
                    for (int64_t d = 0; d < width; d++) {
                        t[d] = g[d] * y[at + d] / keep;
                        dx[at + d] = p ? dx[at + d] + g[d] : g[d];
                        dy[at + d] = p ? dy[at + d] + g[d] * s[d] : g[d] * s[d];
                    }
                } else
                    for (int64_t d = 0; d < width; d++) t[d] = g[d] / keep;
            }
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
        if (bias) {
#pragma omp critical
            for (int64_t i = 0; i < size; i++) dbias[i] += bias[i];
        }
        free(bias);
        free(scaled);
    }
    return failed;
}
