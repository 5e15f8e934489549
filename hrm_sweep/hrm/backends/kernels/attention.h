// Attention of one sequence with rotary positions. Heads are [N, T, padded K], in the products' type;
// softmax, rotation and all sums are in fp32.
//
// Weights are kept transposed, [keys, queries]: the maximum and the sum over the keys of a query are
// then taken lane by lane, and no lane is padding but at the end of a block of queries.

#pragma once

#include <algorithm>
#include <cmath>

#include "memory.h"
#include "products.h"
#include "shape.h"

namespace {

constexpr long QUERY_BLOCK = NR;  // queries whose attention weights stay in the cache

// ---- Rotary positions.

// Numbers that are neighbours, exchanged.
inline Vector swap_pairs(Vector x) {
#if defined(__AVX512F__)
    return _mm512_permute_ps(x, 0xb1);
#else
    Vector swapped;
    for (long i = 0; i < LANES; ++i) swapped[i] = x[i ^ 1];
    return swapped;
#endif
}

// The factors by which a query or key at each position is rotated and scaled by K^-1/4; without a
// table it is only scaled. [T, padded K].
class Rotation {
  public:
    Rotation(const Shape& s, const float* table)
        : own(s.tokens * padded_head(s)), swapped(s.tokens * padded_head(s)), row(padded_head(s)) {
        const long K = head_size(s);
        const float scale = 1.0f / std::sqrt(std::sqrt(static_cast<float>(K)));
        std::fill_n(own.at, s.tokens * row, scale);
        std::fill_n(swapped.at, s.tokens * row, 0.0f);
        for (long t = 0; table && t < s.tokens; ++t, table += K)
            for (long i = 0; i < K; ++i) {
                own[t * row + i] = table[i & ~1L];
                swapped[t * row + i] = i % 2 ? table[i] : -table[i + 1];
            }
    }

    Vector apply(Vector x, long token, long i) const {
        const long at = token * row + i;
        return x * load(own + at) + swap_pairs(x) * load(swapped + at);
    }

    // The transposed map, for gradients.
    Vector apply_back(Vector x, long token, long i) const {
        const long at = token * row + i;
        return x * load(own + at) - swap_pairs(x) * load(swapped + at);
    }

  private:
    Scratch<float> own, swapped;
    long row;
};

// Rotated queries, keys and values by head, from qkv [T, qkv_row]; padded with zeros.
template <class Num>
void split_heads(const Shape& s, const float* qkv, const Rotation& rotation,
                 typename Num::Value* q, typename Num::Value* k, typename Num::Value* v) {
    const long K = head_size(s), D = s.hidden;
    for (long head = 0; head < s.heads; ++head)
        for (long t = 0; t < s.tokens; ++t)
            for (long i = 0; i < K; i += LANES) {
                const float* from = qkv + t * qkv_row(s) + head * K + i;
                const long to = head * one_head(s) + t * padded_head(s) + i, left = K - i;
                if (t < s.queries) Num::write(q + to, rotation.apply(load(from, left), t, i), LANES);
                Num::write(k + to, rotation.apply(load(from + D, left), t, i), LANES);
                Num::write(v + to, load(from + 2 * D, left), LANES);
            }
}

// ---- Softmax over the rows of a matrix [size, row], column by column.

// Replaces scores by exp(score - maximum of the column), and returns the columns' sums in `sums`.
template <long VECTORS = NR_VECTORS>
void exponentials(float* scores, long size, long row, long vectors, float* sums) {
    if constexpr (VECTORS > 1)
        if (vectors < VECTORS) return exponentials<VECTORS - 1>(scores, size, row, vectors, sums);
    Vector maxima[VECTORS], totals[VECTORS];
    UNROLLED for (long j = 0; j < VECTORS; ++j)
        maxima[j] = load(scores + j * LANES), totals[j] = Vector{};
    for (long t = 1; t < size; ++t)
        UNROLLED for (long j = 0; j < VECTORS; ++j) {
            const Vector part = load(scores + t * row + j * LANES);
            maxima[j] = part > maxima[j] ? part : maxima[j];
        }
    for (long t = 0; t < size; ++t)
        UNROLLED for (long j = 0; j < VECTORS; ++j) {
            float* const at = scores + t * row + j * LANES;
            const Vector part = exponential(load(at) - maxima[j]);
            totals[j] += part;
            store(at, part);
        }
    UNROLLED for (long j = 0; j < VECTORS; ++j) store(sums + j * LANES, totals[j]);
}

// Makes exponentials weights, whose sum is 1, and turns the weights' gradients into those of scores.
inline void softmax_backward(float* weights, const float* sums, long size, long row, long vectors,
                             float* grads) {
    for (long j = 0; j < vectors * LANES; j += LANES) {
        const Vector scale = 1.0f / load(sums + j);
        Vector dot = {};
        for (long t = 0; t < size; ++t) {
            float* const at = weights + t * row + j;
            const Vector weight = load(at) * scale;
            store(at, weight);
            dot += weight * load(grads + t * row + j);
        }
        for (long t = 0; t < size; ++t) {
            float* const at = grads + t * row + j;
            store(at, load(weights + t * row + j) * (load(at) - dot));
        }
    }
}

// ---- Operands of products with matrices [keys, queries], whose rows are QUERY_BLOCK apart.

template <class Num>
constexpr long units_of_block() {
    return units<Num>(QUERY_BLOCK);
}

// As A of a product that sums over the keys: units of two rows.
template <class Num>
PackedA summed_over_keys(const float* matrix, long keys, long vectors, Unit* to) {
    if constexpr (Num::PER_UNIT == 1) {
        return {matrix, 1, QUERY_BLOCK};
    } else {
        for (long t = 0; t < keys; t += 2)
            for (long j = 0; j < vectors * LANES; j += LANES) {
                const float* const at = matrix + t * QUERY_BLOCK + j;
                const Vector next = t + 1 < keys ? load(at + QUERY_BLOCK) : Vector{};
                Num::write_pairs(to + t / 2 * QUERY_BLOCK + j, load(at), next);
            }
        return {to, 1, QUERY_BLOCK};
    }
}

// As A of a product that sums over the queries: units of two columns.
template <class Num>
PackedA summed_over_queries(const float* matrix, long keys, long vectors, Unit* to) {
    if constexpr (Num::PER_UNIT == 1) return {matrix, QUERY_BLOCK, 1};
    auto* const values = reinterpret_cast<typename Num::Value*>(to);
    for (long t = 0; t < keys; ++t)
        for (long j = 0; j < vectors * LANES; j += LANES)
            Num::write(values + t * QUERY_BLOCK + j, load(matrix + t * QUERY_BLOCK + j), LANES);
    return {to, units_of_block<Num>(), 1};
}

// ---- A block of queries of one head.

inline long vectors_of(long numbers) { return (numbers + LANES - 1) / LANES; }

// Memory for a head: its rows packed in both ways, and matrices [keys, queries].
template <class Num>
struct HeadScratch {
    Scratch<int32_t> columns, rows, operand;
    Scratch<float> weights, grads;
    alignas(64) float sums[QUERY_BLOCK];
    HeadScratch(const Shape& s, bool backward)
        : columns(packed_units(QUERY_BLOCK, units<Num>(head_size(s)))),
          rows(packed_units(padded_head(s), units<Num>(std::max(s.tokens, QUERY_BLOCK)))),
          operand(s.tokens * QUERY_BLOCK), weights(s.tokens * QUERY_BLOCK),
          grads(backward ? s.tokens * QUERY_BLOCK : 0) {}
};

// Writes rows · queriesᵀ, [T, QUERY_BLOCK], of a head and `count` of its queries.
template <class Num>
void transposed_products(const Shape& s, const typename Num::Value* rows,
                         const typename Num::Value* queries, long count,
                         const HeadScratch<Num>& scratch, float* to) {
    const long depth = units<Num>(head_size(s)), row = units<Num>(padded_head(s));
    pack_transposed(queries, row, count, depth, scratch.columns);
    gemm_into<Num>(to, QUERY_BLOCK, {rows, row, 1}, s.tokens, packed_b(scratch.columns, depth),
                   depth, count);
}

// Rows of a head as B of a product that sums over them.
template <class Num>
PackedB summed_rows(const Shape& s, const typename Num::Value* from, long count,
                    const HeadScratch<Num>& scratch) {
    pack_rows<Num>(from, count, padded_head(s), scratch.rows);
    return packed_b(scratch.rows, units<Num>(count));
}

// Exponentials of the scores k · q of `count` queries, and their sums.
template <class Num>
void attend_to_keys(const Shape& s, const typename Num::Value* q, const typename Num::Value* k,
                    long count, HeadScratch<Num>& scratch) {
    transposed_products<Num>(s, k, q, count, scratch, scratch.weights);
    exponentials(scratch.weights, s.tokens, QUERY_BLOCK, vectors_of(count), scratch.sums);
}

// softmax(q · k) v of every head for the first `queries` tokens, [queries, D].
template <class Num>
void attend(const Shape& s, const typename Num::Value* q, const typename Num::Value* k,
            const typename Num::Value* v, typename Num::Value* attn_out) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s);
    HeadScratch<Num> scratch(s, false);
    for (long head = 0; head < s.heads; ++head) {
        const PackedB values = summed_rows<Num>(s, v, T, scratch);
        for (long first = 0; first < s.queries; first += QUERY_BLOCK) {
            const long count = std::min<long>(QUERY_BLOCK, s.queries - first);
            attend_to_keys<Num>(s, q + first * row, k, count, scratch);
            const PackedA weights =
                summed_over_keys<Num>(scratch.weights, T, vectors_of(count), scratch.operand);
            gemm<Num>(weights, count, values, units<Num>(T), K,
                      [&](long i, long column, long size, const float* sums) {
                          auto* to = attn_out + (first + i) * s.hidden + head * K + column;
                          const float scale = 1.0f / scratch.sums[i];
                          for (long c = 0; c < size; c += LANES)
                              Num::write(to + c, load(sums + c) * scale, size - c);
                      });
        }
        q += one_head(s), k += one_head(s), v += one_head(s);
    }
}

// ---- Backward pass.

// Gradients of the rotated queries, keys and values of a head, and of its output, [T, padded K].
template <class Num>
struct HeadGradients {
    Scratch<float> q, k, v;
    Scratch<typename Num::Value> out;
    explicit HeadGradients(const Shape& s)
        : q(one_head(s)), k(one_head(s)), v(one_head(s)), out(one_head(s)) {}
};

// Fills grads.q, k and v of a head from grads.out; attention weights are computed again.
template <class Num>
void attend_head_backward(const Shape& s, const typename Num::Value* q,
                          const typename Num::Value* k, const typename Num::Value* v,
                          HeadScratch<Num>& scratch, const HeadGradients<Num>& grads) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s);
    for (float* grad : {grads.q.at, grads.k.at, grads.v.at}) std::fill_n(grad, one_head(s), 0.0f);
    for (long first = 0; first < T; first += QUERY_BLOCK) {
        const long count = std::min<long>(QUERY_BLOCK, T - first), vectors = vectors_of(count);
        const auto *queries = q + first * row, *grad_out = grads.out + first * row;
        attend_to_keys<Num>(s, queries, k, count, scratch);
        transposed_products<Num>(s, v, grad_out, count, scratch, scratch.grads);
        softmax_backward(scratch.weights, scratch.sums, T, QUERY_BLOCK, vectors, scratch.grads);
        gemm<Num>(summed_over_keys<Num>(scratch.grads, T, vectors, scratch.operand), count,
                  summed_rows<Num>(s, k, T, scratch), units<Num>(T), K,
                  accumulate_into(grads.q + first * row, row));
        gemm<Num>(summed_over_queries<Num>(scratch.grads, T, vectors, scratch.operand), T,
                  summed_rows<Num>(s, queries, count, scratch), units<Num>(count), K,
                  accumulate_into(grads.k, row));
        gemm<Num>(summed_over_queries<Num>(scratch.weights, T, vectors, scratch.operand), T,
                  summed_rows<Num>(s, grad_out, count, scratch), units<Num>(count), K,
                  accumulate_into(grads.v, row));
    }
}

// Gradients of qkv, [T, 3 D], from that of attn_out, [T, padded D].
template <class Num>
void attend_backward(const Shape& s, const typename Num::Value* q, const typename Num::Value* k,
                     const typename Num::Value* v, const float* grad_attn_out,
                     const Rotation& rotation, typename Num::Value* grad_qkv) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s);
    HeadScratch<Num> scratch(s, true);
    const HeadGradients<Num> grads(s);
    for (long head = 0; head < s.heads; ++head) {
        for (long t = 0; t < T; ++t)
            for (long i = 0; i < K; i += LANES) {
                const float* const from = grad_attn_out + t * padded_hidden(s) + head * K + i;
                Num::write(grads.out + t * row + i, load(from, K - i), LANES);
            }
        attend_head_backward<Num>(s, q, k, v, scratch, grads);
        for (long t = 0; t < T; ++t)
            for (long i = 0; i < K; i += LANES) {
                auto* const to = grad_qkv + t * 3 * s.hidden + head * K + i;
                const long at = t * row + i, left = K - i;
                Num::write(to, rotation.apply_back(load(grads.q + at), t, i), left);
                Num::write(to + s.hidden, rotation.apply_back(load(grads.k + at), t, i), left);
                Num::write(to + 2 * s.hidden, load(grads.v + at), left);
            }
        q += one_head(s), k += one_head(s), v += one_head(s);
    }
}

}  // namespace
