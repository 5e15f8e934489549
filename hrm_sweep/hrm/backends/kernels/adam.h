// Adam's update of all parameters, one pass over memory: eager_adam.py has the same mathematics in
// PyTorch's operators, which read and write each vector several times.
//
//     g' = scale · g                 m = m + (1 - beta1) (g' - m)      v = beta2 v + (1 - beta2) g'²
//     AdamW   u = m / (sqrt(v / bias2) + epsilon)        atan2   u = atan2(m, sqrt(v / bias2))
//     p = p · (1 - lr · weight_decay) - u · lr / bias1,   copy = bf16(p),   g = 0
//
// Threads divide the vectors into pieces of fixed size, so their number changes no bit.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "memory.h"
#include "products.h"

namespace {

constexpr long PIECE = 8192;  // numbers of a vector: five pieces are 160 KB

#if defined(__AVX512F__)
inline Vector root(Vector x) { return _mm512_sqrt_ps(x); }

inline Vector magnitude(Vector x) { return _mm512_abs_ps(x); }
#else
inline Vector root(Vector x) {
    for (long i = 0; i < LANES; ++i) x[i] = std::sqrt(x[i]);
    return x;
}

inline Vector magnitude(Vector x) { return from_bits(to_bits(x) & 0x7fffffff); }
#endif

// The angle of the points (x, y), x >= 0, in [-pi/2, pi/2]; 0 for the origin. Relative error below
// 3e-7: the polynomial of Cephes' atanf for |z| <= tan(pi/8), and atan z = pi/4 + atan((z-1)/(z+1)).
inline Vector angle(Vector y, Vector x) {
    const Vector size = magnitude(y), zero = {};
    const auto is_steep = size > x;
    const Vector low = is_steep ? x : size, high = is_steep ? size : x;
    const auto is_far = low > 0.41421356f * high;
    const Vector above = is_far ? low - high : low, below = is_far ? low + high : high;
    const Vector z = above / (below > zero ? below : zero + 1.0f), square = z * z;
    Vector p = square * 8.05374449538e-2f - 1.38776856032e-1f;
    p = p * square + 1.99777106478e-1f;
    p = p * square - 3.33329491539e-1f;
    p = p * square * z + z;
    p = is_far ? p + 0.785398163f : p;
    p = is_steep ? 1.570796327f - p : p;
    return y < zero ? -p : p;
}

// The L2 norm of a vector: sums of a piece in fp32, lane by lane, those of all pieces in fp64.
inline double norm(const float* vector, long count, long threads) {
    const long pieces = (count + PIECE - 1) / PIECE;
    const Scratch<double> sums(pieces);
    parallel_for(pieces, 1, threads, [&](long piece) {
        const float* const from = vector + piece * PIECE;
        const long size = std::min(PIECE, count - piece * PIECE);
        Vector squares[4] = {};
        long i = 0;
        for (; i + 4 * LANES <= size; i += 4 * LANES)
            for (long j = 0; j < 4; ++j) {
                const Vector part = load(from + i + j * LANES);
                squares[j] += part * part;
            }
        for (; i < size; i += LANES) {
            const Vector part = load(from + i, size - i);
            squares[0] += part * part;
        }
        sums[piece] = reduce_sum((squares[0] + squares[1]) + (squares[2] + squares[3]));
    });
    double total = 0;
    for (long piece = 0; piece < pieces; ++piece) total += sums[piece];
    return std::sqrt(total);
}

struct AdamVectors {
    float *parameters, *gradient, *mean, *square;
    uint16_t* copies;  // in bf16, of the first `copied` parameters
    long count, copied;
};

struct AdamStep {
    double lr, scale, beta1, beta2, bias1, bias2, weight_decay, epsilon;
};

template <bool IS_ATAN2>
void update_piece(const AdamVectors& all, const AdamStep& step, long first) {
    const float scale = step.scale, rate1 = 1 - step.beta1, beta2 = step.beta2,
                rate2 = 1 - step.beta2, unbias2 = 1 / step.bias2, epsilon = step.epsilon,
                kept = 1 - step.lr * step.weight_decay, length = step.lr / step.bias1;
    const long end = std::min(first + PIECE, all.count);
    for (long i = first; i < end; i += LANES) {
        const long left = end - i;
        const Vector gradient = load(all.gradient + i, left) * scale;
        Vector mean = load(all.mean + i, left), square = load(all.square + i, left);
        mean += (gradient - mean) * rate1;
        square = square * beta2 + gradient * gradient * rate2;
        const Vector size = root(square * unbias2);
        const Vector update = IS_ATAN2 ? angle(mean, size) : mean / (size + epsilon);
        const Vector now = load(all.parameters + i, left) * kept - update * length;
        store(all.parameters + i, now, left);
        store(all.mean + i, mean, left);
        store(all.square + i, square, left);
        store(all.gradient + i, Vector{}, left);
        if (i < all.copied) Bf16::write(all.copies + i, now, std::min(left, all.copied - i));
    }
}

inline void update(const AdamVectors& all, const AdamStep& step, bool is_atan2, long threads) {
    parallel_for(all.count, PIECE, threads, [&](long first) {
        if (is_atan2)
            update_piece<true>(all, step, first);
        else
            update_piece<false>(all, step, first);
    });
}

}  // namespace
