// Attention of one sequence with rotary positions. Heads are [N, T, padded K] in fp32.

#pragma once

#include <algorithm>
#include <cmath>

#include "memory.h"
#include "products.h"
#include "shape.h"

namespace {

constexpr long QUERY_BLOCK = 64;  // queries whose attention weights stay in the cache

// Rotates a query or key by its row of the table, scaled by K^-1/4; sign -1: the transposed map,
// for gradients. Without a table it only scales.
inline void apply_rope(const float* __restrict from, const float* __restrict table_row, float sign,
                long size, float* __restrict to) {
    if (table_row == nullptr) {
        const float scale = 1.0f / std::sqrt(std::sqrt(static_cast<float>(size)));
        for (long i = 0; i < size; ++i) to[i] = from[i] * scale;
        return;
    }
    for (long i = 0; i < size; i += 2) {
        const float a = from[i], b = from[i + 1];
        const float cosine = table_row[i], sine = sign * table_row[i + 1];
        to[i] = a * cosine - b * sine;
        to[i + 1] = a * sine + b * cosine;
    }
}

inline const float* rope_row(const float* table, const Shape& s, long token) {
    return table == nullptr ? nullptr : table + token * head_size(s);
}

// Attention weights softmax(q · k) of `count` queries, [count, padded tokens], zero in the padding.
inline void attention_weights(const Shape& s, const float* q, long count, const Unit* keys, float* to) {
    const long T = s.tokens, row = padded_tokens(s), K = head_size(s);
    gemm_into<Fp32>(to, row, {q, padded_head(s), 1}, count, packed_b(keys, K), K, T);
    Vector mask = {};  // added to the last vector of scores
    for (long i = 0; i < LANES; ++i) mask[i] = row - LANES + i < T ? 0.0f : -INFINITY;
    for (long i = 0; i < count; ++i, to += row) {
        store(to + row - LANES, load(to + row - LANES) + mask);
        Vector maxima = load(to);
        for (long t = LANES; t < row; t += LANES) {
            const Vector part = load(to + t);
            maxima = part > maxima ? part : maxima;
        }
        const float maximum = reduce_max(maxima);
        Vector total = {};
        for (long t = 0; t < row; t += LANES) {
            Vector part = exponential(load(to + t) - maximum);
            if (t + LANES > T) part = mask == 0.0f ? part : Vector{};
            total += part;
            store(to + t, part);
        }
        const float scale = 1.0f / reduce_sum(total);
        for (long t = 0; t < row; t += LANES) store(to + t, load(to + t) * scale);
    }
}

// Turns the gradient of attention weights into that of the scores q · k, in place.
inline void softmax_backward(const float* probs, long rows, long size, float* grads) {
    for (long i = 0; i < rows; ++i, probs += size, grads += size) {
        Vector products = {};
        for (long t = 0; t < size; t += LANES) products += load(probs + t) * load(grads + t);
        const float dot = reduce_sum(products);
        for (long t = 0; t < size; t += LANES)
            store(grads + t, load(probs + t) * (load(grads + t) - dot));
    }
}

// Rotated queries, keys and values by head, from qkv [T, padded 3 D].
inline void split_heads(const Shape& s, const float* qkv, const float* rope_table, float* q, float* k,
                 float* v) {
    const long K = head_size(s);
    for (long head = 0; head < s.heads; ++head)
        for (long t = 0; t < s.tokens; ++t) {
            const float* from = qkv + t * qkv_row(s) + head * K;
            const long to = head * one_head(s) + t * padded_head(s);
            if (t < s.queries) apply_rope(from, rope_row(rope_table, s, t), 1, K, q + to);
            apply_rope(from + s.hidden, rope_row(rope_table, s, t), 1, K, k + to);
            std::copy_n(from + 2 * s.hidden, K, v + to);
        }
}

// softmax(q · k) v of every head for the first `queries` tokens, [queries, D].
template <class Num>
inline void attend(const Shape& s, const float* q, const float* k, const float* v,
            typename Num::Value* attn_out) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s);
    Scratch<int32_t> keys(packed_units(T, K));
    Scratch<float> probs(QUERY_BLOCK * padded_tokens(s));
    for (long head = 0; head < s.heads; ++head) {
        pack_transposed(k, row, T, K, keys);
        for (long first = 0; first < s.queries; first += QUERY_BLOCK) {
            const long count = std::min<long>(QUERY_BLOCK, s.queries - first);
            attention_weights(s, q + first * row, count, keys, probs);
            gemm<Fp32>({probs, padded_tokens(s), 1}, count, {v, row, NR}, T, K,
                       [&](long i, long column, long size, const float* sums) {
                           auto* to = attn_out + (first + i) * s.hidden + head * K + column;
                           for (long c = 0; c < size; c += LANES)
                               Num::write(to + c, load(sums + c), size - c);
                       });
        }
        q += one_head(s), k += one_head(s), v += one_head(s);
    }
}

// Gradients of the rotated queries, keys and values of a head and of its output, [T, padded K].
struct HeadGradients {
    Scratch<float> out, q, k, v;
    explicit HeadGradients(const Shape& s)
        : out(one_head(s)), q(one_head(s)), k(one_head(s)), v(one_head(s)) {}
};

// Fills grads.q, k and v of a head from its grads.out; attention weights are computed again.
inline void attend_head_backward(const Shape& s, const float* q, const float* k, const float* v,
                          const Scratch<int32_t>& keys, const Scratch<int32_t>& values,
                          const Scratch<float>& probs, const Scratch<float>& grad_probs,
                          const HeadGradients& grads) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s), wide = padded_tokens(s);
    pack_transposed(k, row, T, K, keys);
    pack_transposed(v, row, T, K, values);
    for (float* grad : {grads.q.at, grads.k.at, grads.v.at}) std::fill_n(grad, one_head(s), 0.0f);
    for (long first = 0; first < T; first += QUERY_BLOCK) {
        const long count = std::min<long>(QUERY_BLOCK, T - first);
        const float* grad_out = grads.out + first * row;
        attention_weights(s, q + first * row, count, keys, probs);
        gemm_into<Fp32>(grad_probs, wide, {grad_out, row, 1}, count, packed_b(values, K), K, T);
        softmax_backward(probs, count, wide, grad_probs);
        gemm<Fp32>({grad_probs, wide, 1}, count, {k, row, NR}, T, K,
                   accumulate_into(grads.q + first * row, row));
        gemm<Fp32>({grad_probs, 1, wide}, T, {q + first * row, row, NR}, count, K,
                   accumulate_into(grads.k, row));
        gemm<Fp32>({probs, 1, wide}, T, {grad_out, row, NR}, count, K,
                   accumulate_into(grads.v, row));
    }
}

// Gradients of qkv, [T, 3 D], from that of attn_out, [T, padded D].
template <class Num>
inline void attend_backward(const Shape& s, const float* q, const float* k, const float* v,
                     const float* grad_attn_out, const float* rope_table,
                     typename Num::Value* grad_qkv) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s);
    Scratch<int32_t> keys(packed_units(T, K)), values(packed_units(T, K));
    Scratch<float> probs(QUERY_BLOCK * padded_tokens(s));
    Scratch<float> grad_probs(QUERY_BLOCK * padded_tokens(s)), rotated(row);
    const HeadGradients grads(s);
    for (long head = 0; head < s.heads; ++head) {
        for (long t = 0; t < T; ++t)
            std::copy_n(grad_attn_out + t * padded_hidden(s) + head * K, K, grads.out + t * row);
        attend_head_backward(s, q, k, v, keys, values, probs, grad_probs, grads);
        for (long t = 0; t < T; ++t) {
            auto* to = grad_qkv + t * 3 * s.hidden + head * K;
            apply_rope(grads.q + t * row, rope_row(rope_table, s, t), -1, K, rotated);
            cast<Num>(rotated, K, to);
            apply_rope(grads.k + t * row, rope_row(rope_table, s, t), -1, K, rotated);
            cast<Num>(rotated, K, to + s.hidden);
            cast<Num>(grads.v + t * row, K, to + 2 * s.hidden);
        }
        q += one_head(s), k += one_head(s), v += one_head(s);
    }
}

}  // namespace
