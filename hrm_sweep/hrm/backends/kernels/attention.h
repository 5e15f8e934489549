// Attention of one sequence with rotary positions. Heads are [N, T, padded K] in fp32.
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

// Rotated queries, keys and values by head, from qkv [T, qkv_row] with room for a vector behind it.
inline void split_heads(const Shape& s, const float* qkv, const Rotation& rotation, float* q,
                        float* k, float* v) {
    const long K = head_size(s);
    for (long head = 0; head < s.heads; ++head)
        for (long t = 0; t < s.tokens; ++t)
            for (long i = 0; i < K; i += LANES) {
                const float* from = qkv + t * qkv_row(s) + head * K + i;
                const long to = head * one_head(s) + t * padded_head(s) + i;
                if (t < s.queries) store(q + to, rotation.apply(load(from), t, i));
                store(k + to, rotation.apply(load(from + s.hidden), t, i));
                store(v + to, load(from + 2 * s.hidden));
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

// ---- A block of queries of one head.

// Memory for a block of queries: packed rows, [keys, queries] twice, and sums.
struct QueryBlock {
    Scratch<int32_t> packed;
    Scratch<float> weights, grads;
    alignas(64) float sums[QUERY_BLOCK];
    QueryBlock(const Shape& s, bool backward)
        : packed(packed_units(QUERY_BLOCK, head_size(s))), weights(s.tokens * QUERY_BLOCK),
          grads(backward ? s.tokens * QUERY_BLOCK : 0) {}
};

inline long vectors_of(long numbers) { return (numbers + LANES - 1) / LANES; }

// Writes rows · queriesᵀ, [T, QUERY_BLOCK], for `count` queries that are `query_row` apart.
inline void transposed_products(const Shape& s, const float* rows, const float* queries,
                                long query_row, long count, const Scratch<int32_t>& packed,
                                float* to) {
    const long K = head_size(s);
    pack_transposed(queries, query_row, count, K, packed);
    gemm_into<Fp32>(to, QUERY_BLOCK, {rows, padded_head(s), 1}, s.tokens, packed_b(packed, K), K,
                    count);
}

// Exponentials of the scores k · q of `count` queries, and their sums.
inline void attend_to_keys(const Shape& s, const float* q, const float* k, long count,
                           QueryBlock& block) {
    transposed_products(s, k, q, padded_head(s), count, block.packed, block.weights);
    exponentials(block.weights, s.tokens, QUERY_BLOCK, vectors_of(count), block.sums);
}

// softmax(q · k) v of every head for the first `queries` tokens, [queries, D].
template <class Num>
void attend(const Shape& s, const float* q, const float* k, const float* v,
            typename Num::Value* attn_out) {
    const long K = head_size(s), row = padded_head(s);
    QueryBlock block(s, false);
    for (long head = 0; head < s.heads; ++head) {
        for (long first = 0; first < s.queries; first += QUERY_BLOCK) {
            const long count = std::min<long>(QUERY_BLOCK, s.queries - first);
            attend_to_keys(s, q + first * row, k, count, block);
            gemm<Fp32>({block.weights, 1, QUERY_BLOCK}, count, {v, row, NR}, s.tokens, K,
                       [&](long i, long column, long size, const float* sums) {
                           auto* to = attn_out + (first + i) * s.hidden + head * K + column;
                           const float scale = 1.0f / block.sums[i];
                           for (long c = 0; c < size; c += LANES)
                               Num::write(to + c, load(sums + c) * scale, size - c);
                       });
        }
        q += one_head(s), k += one_head(s), v += one_head(s);
    }
}

// ---- Backward pass.

// Gradients of the rotated queries, keys and values of a head, [T, padded K].
struct HeadGradients {
    Scratch<float> q, k, v;
    explicit HeadGradients(const Shape& s) : q(one_head(s)), k(one_head(s)), v(one_head(s)) {}
};

// Fills grads of a head from that of its output, whose rows are padded_hidden apart; attention
// weights are computed again.
inline void attend_head_backward(const Shape& s, const float* q, const float* k, const float* v,
                                 const float* grad_out, QueryBlock& block,
                                 const HeadGradients& grads) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s), out_row = padded_hidden(s);
    for (float* grad : {grads.q.at, grads.k.at, grads.v.at}) std::fill_n(grad, one_head(s), 0.0f);
    for (long first = 0; first < T; first += QUERY_BLOCK, grad_out += QUERY_BLOCK * out_row) {
        const long count = std::min<long>(QUERY_BLOCK, T - first);
        attend_to_keys(s, q + first * row, k, count, block);
        transposed_products(s, v, grad_out, out_row, count, block.packed, block.grads);
        softmax_backward(block.weights, block.sums, T, QUERY_BLOCK, vectors_of(count), block.grads);
        gemm<Fp32>({block.grads, 1, QUERY_BLOCK}, count, {k, row, NR}, T, K,
                   accumulate_into(grads.q + first * row, row));
        gemm<Fp32>({block.grads, QUERY_BLOCK, 1}, T, {q + first * row, row, NR}, count, K,
                   accumulate_into(grads.k, row));
        gemm<Fp32>({block.weights, QUERY_BLOCK, 1}, T, {grad_out, out_row, NR}, count, K,
                   accumulate_into(grads.v, row));
    }
}

// Gradients of qkv, [T, 3 D], from that of attn_out, [T, padded D] with room for a vector behind it.
template <class Num>
void attend_backward(const Shape& s, const float* q, const float* k, const float* v,
                     const float* grad_attn_out, const Rotation& rotation,
                     typename Num::Value* grad_qkv) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s);
    QueryBlock block(s, true);
    const HeadGradients grads(s);
    for (long head = 0; head < s.heads; ++head) {
        attend_head_backward(s, q, k, v, grad_attn_out + head * K, block, grads);
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
