// The sizes of a block, the same as in kernel_library.py, which compares `shape_layout`.

#pragma once

#include <cstdint>

#include "memory.h"
#include "products.h"

#define SHAPE_FIELDS(FIELD)                                                                        \
    FIELD(batch)   /* B */                                                                         \
    FIELD(tokens)  /* T */                                                                         \
    FIELD(hidden)  /* D */                                                                         \
    FIELD(heads)   /* N */                                                                         \
    FIELD(width)   /* M */                                                                         \
    FIELD(queries) /* first tokens of each sequence whose states are wanted */                     \
    FIELD(bf16)    /* 1: products of bf16 numbers, 0: of fp32 */                                   \
    FIELD(threads)

extern "C" struct Shape {
#define DECLARE(name) int64_t name;
    SHAPE_FIELDS(DECLARE)
#undef DECLARE
};

namespace {

inline long head_size(const Shape& s) { return s.hidden / s.heads; }
inline long padded_head(const Shape& s) { return round_up(head_size(s), LANES); }
inline long padded_tokens(const Shape& s) { return round_up(s.tokens, LANES); }
inline long padded_hidden(const Shape& s) { return round_up(s.hidden, LANES); }
inline long qkv_row(const Shape& s) { return round_up(3 * s.hidden, LANES); }
inline long one_head(const Shape& s) { return s.tokens * padded_head(s); }
inline long all_heads(const Shape& s) { return s.heads * one_head(s); }

template <class Work>
void with_value_type(const Shape& s, Work work) {
    if (s.bf16)
        work(Bf16{});
    else
        work(Fp32{});
}

// Calls work(type of the products' values); no exception leaves.
template <class Work>
int guarded(const Shape& s, Work work) noexcept {
    return guarded([&] { with_value_type(s, work); });
}

}  // namespace
