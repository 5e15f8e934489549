// Vectors of fp32 numbers, as wide as the CPU has registers, and functions of them.

#pragma once

#include <cstdint>
#include <cstring>
#include <algorithm>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr long LANES = 16, NR_VECTORS = 4;  // 6 x 4 sums, 4 of B and 1 of A: 29 of 32 registers
#elif defined(__AVX__)
constexpr long LANES = 8, NR_VECTORS = 2;  // of 16 registers
#elif defined(__aarch64__)
constexpr long LANES = 4, NR_VECTORS = 4;  // of 32
#else
constexpr long LANES = 4, NR_VECTORS = 2;
#endif

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef float UnalignedVector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

constexpr long round_up(long count, long multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

// With a count, only the first `count` numbers are read or written.
#if defined(__AVX512F__)
inline __mmask16 first_lanes(long count) { return static_cast<__mmask16>((1u << count) - 1); }

inline Vector load(const float* from, long count = LANES) {
    if (count >= LANES) return *reinterpret_cast<const UnalignedVector*>(from);
    return _mm512_maskz_loadu_ps(first_lanes(count), from);
}

inline void store(float* to, Vector all, long count = LANES) {
    if (count >= LANES)
        *reinterpret_cast<UnalignedVector*>(to) = all;
    else
        _mm512_mask_storeu_ps(to, first_lanes(count), all);
}
#else
inline Vector load(const float* from, long count = LANES) {
    if (count >= LANES) return *reinterpret_cast<const UnalignedVector*>(from);
    Vector all = {};
    std::memcpy(&all, from, 4 * count);
    return all;
}

inline void store(float* to, Vector all, long count = LANES) {
    if (count >= LANES)
        *reinterpret_cast<UnalignedVector*>(to) = all;
    else
        std::memcpy(to, &all, 4 * count);
}
#endif

inline Vector from_bits(Integers bits) {
    Vector same;
    std::memcpy(&same, &bits, sizeof same);
    return same;
}

inline Integers to_bits(Vector all) {
    Integers same;
    std::memcpy(&same, &all, sizeof same);
    return same;
}

#if defined(__AVX512F__)
inline float reduce_sum(Vector all) { return _mm512_reduce_add_ps(all); }

inline float reduce_max(Vector all) { return _mm512_reduce_max_ps(all); }

inline Vector clamp(Vector x, float low, float high) {
    return _mm512_min_ps(_mm512_max_ps(x, Vector{} + low), Vector{} + high);
}

inline Vector round_to_integer(Vector x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT);
}

inline Vector scale_by_power_of_2(Vector x, Vector power) { return _mm512_scalef_ps(x, power); }

inline Vector reciprocal(Vector x) {  // 14 bits, refined by one Newton step
    const Vector near = _mm512_rcp14_ps(x);
    return near * (2.0f - x * near);
}
#else
inline float reduce_sum(Vector all) {
    float total = 0;
    for (long i = 0; i < LANES; ++i) total += all[i];
    return total;
}

inline float reduce_max(Vector all) {
    float most = all[0];
    for (long i = 1; i < LANES; ++i) most = std::max(most, all[i]);
    return most;
}

inline Vector clamp(Vector x, float low, float high) {
    x = x > low ? x : Vector{} + low;
    return x < high ? x : Vector{} + high;
}

inline Vector round_to_integer(Vector x) { return (x + 12582912.0f) - 12582912.0f; }  // 1.5 * 2^23

inline Vector scale_by_power_of_2(Vector x, Vector power) {  // x · 2^power
    return x * from_bits((__builtin_convertvector(power, Integers) + 127) << 23);
}

inline Vector reciprocal(Vector x) { return 1.0f / x; }
#endif

// Relative error below 2e-7 for x in [-87, 80]; x is clamped to that range.
inline Vector exponential(Vector x) {
    x = clamp(x, -87.0f, 80.0f);
    const Vector power = round_to_integer(x * 1.44269504f);
    x -= power * 0.693359375f;  // log 2 in two parts (Cody-Waite), the first exact in few bits
    x -= power * -2.12194440e-4f;
    Vector p = x * 1.9875691500e-4f + 1.3981999507e-3f;  // polynomial of Cephes' expf
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    p = p * x * x + x + 1.0f;
    return scale_by_power_of_2(p, power);
}

inline Vector sigmoid(Vector x) { return reciprocal(exponential(-x) + 1.0f); }

}  // namespace
