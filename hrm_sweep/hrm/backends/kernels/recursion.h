// The updates of two states without a gradient, cores.RecursiveCore, in one call.

#pragma once

#include "block.h"

namespace {

// The blocks of a level, by their packed weights.
struct Level {
    void* const* weights;
    long blocks;
};

inline void add(const float* a, const float* b, long count, float* to) {
    for (long i = 0; i < count; i += LANES)
        store(to + i, load(a + i, count - i) + load(b + i, count - i), count - i);
}

template <class Num>
class Recursion {
  public:
    Recursion(const Shape& s, const float* rope_table, Level low, Level high)
        : s(s), rope_table(rope_table), low(low), high(high), size(s.batch * s.tokens * s.hidden),
          injection(size), sums(size), between(size) {}

    // low_updates times  z_low = low(z_low + (z_high + x)),  then  z_high = high(z_high + z_low).
    void cycle(long low_updates, const float* x, float* z_high, float* z_low) const {
        update_low(low_updates, x, z_high, z_low);
        update(high, z_low, z_high);
    }

    void update_low(long updates, const float* x, const float* z_high, float* z_low) const {
        add(z_high, x, size, injection);
        for (long i = 0; i < updates; ++i) update(low, injection, z_low);
    }

  private:
    void update(const Level& level, const float* with, float* state) const {
        add(state, with, size, sums);
        float *from = sums, *to = between;
        for (long i = 0; i < level.blocks; ++i, std::swap(from, to)) {
            Arena arena(level.weights[i]);
            if (i + 1 == level.blocks) to = state;
            forward<Num>(s, from, Weights<Num>(s, arena), rope_table, to, nullptr);
        }
    }

    const Shape& s;
    const float* rope_table;
    Level low, high;
    long size;
    Scratch<float> injection, sums, between;
};

}  // namespace
