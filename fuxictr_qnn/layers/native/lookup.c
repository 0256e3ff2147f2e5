/* Rows of embedding tables side by side, and their gradients; `embedding.py` says the same with torch.
 *
 * float32. A column of ids is int32, or int64 where `wide` says so.
 */
#include <stdint.h>
#include <string.h>

static inline int64_t id_at(const void *ids, int32_t wide, int64_t r) {
    return wide ? ((const int64_t *)ids)[r] : ((const int32_t *)ids)[r];
}

/* out (rows, fields * dim): row ids[f][r] of tables[f] (sizes[f], dim). Returns how many ids no table has. */
int64_t lookup(const void *const *ids, const int32_t *wide, const float *const *tables, const int64_t *sizes,
               int64_t rows, int64_t fields, int64_t dim, float *out, int32_t threads) {
    int64_t missing = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : missing)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t f = 0; f < fields; f++) {
            const int64_t id = id_at(ids[f], wide[f], r);
            if (id < 0 || id >= sizes[f])
                missing++;
            else
                memcpy(out + (r * fields + f) * dim, tables[f] + id * dim, sizeof(float) * dim);
        }
    return missing;
}

/* dtables[f] (sizes[f], dim), zero before: the sum of grad (rows, fields * dim) over the rows with an id; that of
 * padding[f] gets none. A table is one thread's, so that sums have one order. */
void scatter(const void *const *ids, const int32_t *wide, const int64_t *padding, const float *grad, int64_t rows,
             int64_t fields, int64_t dim, float *const *dtables, int32_t threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t f = 0; f < fields; f++)
        for (int64_t r = 0; r < rows; r++) {
            const int64_t id = id_at(ids[f], wide[f], r);
            if (id == padding[f]) continue;
            const float *restrict g = grad + (r * fields + f) * dim;
            float *restrict d = dtables[f] + id * dim;
            for (int64_t e = 0; e < dim; e++) d[e] += g[e];
        }
}
