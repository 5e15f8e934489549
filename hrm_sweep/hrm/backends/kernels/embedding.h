// The input states of a model and their gradient; cores.Core.embed has the same mathematics in
// PyTorch's operators. Of each row, the first positions are its puzzle's vector, padded with zeros,
// and the others its tokens' vectors:
//
//     x = scale · vector,   or with learned positions   x = scale · sqrt(1/2) · (vector + position)

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>

#include "memory.h"
#include "vectors.h"

namespace {

struct EmbeddingShape {
    long batch, tokens, prefix, hidden, vocabulary, puzzle, threads;  // puzzle: size of its vectors
};

inline float factor(bool has_positions, double scale) {
    return static_cast<float>(has_positions ? scale * std::sqrt(0.5) : scale);
}

inline void add_scaled(const float* from, long size, float scale, float* to) {
    for (long i = 0; i < size; i += LANES)
        store(to + i, load(to + i, size - i) + load(from + i, size - i) * scale, size - i);
}

// Throws std::out_of_range if a token is not in the vocabulary.
inline void embed(const EmbeddingShape& s, const int64_t* ids, const float* table,
                  const float* puzzles, const float* positions, double scale, float* to) {
    const long S = s.tokens - s.prefix, D = s.hidden, row = s.tokens * D;
    for (long i = 0; i < s.batch * S; ++i)
        if (ids[i] < 0 || ids[i] >= s.vocabulary) throw std::out_of_range("token");
    const float by = factor(positions, scale);
    parallel_for(s.batch, 1, s.threads, [&](long b) {
        float* const out = to + b * row;
        std::fill_n(out, row, 0.0f);
        if (s.prefix) add_scaled(puzzles + b * s.puzzle, s.puzzle, by, out);
        for (long t = 0; t < S; ++t)
            add_scaled(table + ids[b * S + t] * D, D, by, out + (s.prefix + t) * D);
        if (positions) add_scaled(positions, row, by, out);
    });
}

// Adds to the gradients of tokens and positions, and writes that of the puzzles' vectors; null: not
// wanted.
inline void embed_backward(const EmbeddingShape& s, const int64_t* ids, const float* grad,
                           bool has_positions, double scale, float* to_table, float* to_puzzles,
                           float* to_positions) {
    const long S = s.tokens - s.prefix, D = s.hidden, row = s.tokens * D;
    const float by = factor(has_positions, scale);
    if (to_puzzles) std::fill_n(to_puzzles, s.batch * s.puzzle, 0.0f);
    for (long b = 0; b < s.batch; ++b, grad += row) {
        if (to_puzzles) add_scaled(grad, s.puzzle, by, to_puzzles + b * s.puzzle);
        if (to_positions) add_scaled(grad, row, by, to_positions);
        for (long t = 0; to_table && t < S; ++t)
            add_scaled(grad + (s.prefix + t) * D, D, by, to_table + ids[b * S + t] * D);
    }
}

}  // namespace
