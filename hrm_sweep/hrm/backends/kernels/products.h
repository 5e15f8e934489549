// Matrix products and the packing of their operands, in fp32 and bf16.
//
// MATRIX PRODUCTS follow BLIS (Van Zee, van de Geijn 2015). The micro-kernel keeps an MR x NR
// tile of C in registers and runs over the summed dimension: load a row of B's panel, broadcast
// MR numbers of A, multiply and add. B is packed into panels of NR columns, so that the
// micro-kernel reads memory in order; A is read in place by its strides, or packed likewise for
// products that sum over rows. There is no loop over blocks of the summed dimension (KC) or of
// C's columns (NC): a panel of depth 256 is 32 KB in bf16, 64 KB in fp32. Models far wider than
// 512 would want those loops. block.h has blocks of rows instead.
//
// A unit of the summed dimension is 32 bits: one fp32 number, or two bf16 numbers for vdpbf16ps,
// which oneDNN and libxsmm call VNNI layout. Sums are fp32, and so are states, norms, softmax,
// rotation and SwiGLU. A CPU without AVX512-BF16 computes bf16 products in fp32, with the
// roundings of bf16. AMX is not used.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "vectors.h"

namespace {

constexpr long MR = 6, NR = NR_VECTORS * LANES;  // register tile: MR rows x NR columns

typedef int32_t Unit __attribute__((may_alias));

inline Vector load(const Unit* from) { return *reinterpret_cast<const UnalignedVector*>(from); }

inline Vector broadcast(Unit unit) { return from_bits(Integers{} + unit); }

struct Fp32 {
    using Value = float;
    static constexpr long PER_UNIT = 1;
    static Vector multiply_add(Vector sums, Vector a, Vector b) { return sums + a * b; }
    static Vector read(const Value* from) { return load(from); }
    static void write(Value* to, Vector all, long count) { store(to, all, count); }
    // Makes units of a row's numbers and, if a unit holds two, the next row's.
    static void pair(const Value* row, const Value*, long count, Unit* to) {
        for (long i = 0; i < count; i += LANES)
            store(reinterpret_cast<float*>(to) + i, load(row + i, count - i), count - i);
    }
};

struct Bf16 {
    using Value = uint16_t;
    static constexpr long PER_UNIT = 2;
#if defined(__AVX512BF16__)
    static Vector multiply_add(Vector sums, Vector a, Vector b) {
        return _mm512_dpbf16_ps(sums, (__m512bh)a, (__m512bh)b);
    }
    static Halves rounded_to_bf16(Vector all) { return (Halves)_mm512_cvtneps_pbh(all); }
#else
    static Vector multiply_add(Vector sums, Vector a_pair, Vector b_pair) {
        const Integers a = to_bits(a_pair), b = to_bits(b_pair), high = Integers{} + ~0xffff;
        return sums + from_bits(a << 16) * from_bits(b << 16) +
               from_bits(a & high) * from_bits(b & high);
    }
    static Halves rounded_to_bf16(Vector all) {  // to nearest, ties to even
        const Integers bits = to_bits(all);
        return __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, Halves);
    }
#endif
#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
    static Vector read(const Value* from) {
        const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
    }
    static void write(Value* to, Vector all, long count) {
        const __m256i halves = (__m256i)_mm512_cvtneps_pbh(all);
        if (count >= LANES)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves);
        else
            _mm256_mask_storeu_epi16(to, first_lanes(count), halves);
    }
#else
    static Vector read(const Value* from) {
        Halves all;
        std::memcpy(&all, from, sizeof all);
        return from_bits(__builtin_convertvector(all, Integers) << 16);
    }
    static void write(Value* to, Vector all, long count) {
        const Halves halves = rounded_to_bf16(all);
        if (count >= LANES)
            std::memcpy(to, &halves, sizeof halves);
        else
            std::memcpy(to, &halves, 2 * count);
    }
#endif
    static void pair(const Value* row, const Value* next, long count, Unit* to) {
        for (long i = 0; i < count; ++i) to[i] = row[i] | next[i] << 16;
    }
    // Writes a vector of units, each of a number of `row` and one of `next`.
    static void write_pairs(Unit* to, Vector row, Vector next) {
        const auto low = __builtin_convertvector(rounded_to_bf16(row), Integers);
        const auto high = __builtin_convertvector(rounded_to_bf16(next), Integers);
        store(reinterpret_cast<float*>(to), from_bits(low | high << 16));
    }
};

template <class Num>
constexpr long units(long numbers) {
    return (numbers + Num::PER_UNIT - 1) / Num::PER_UNIT;
}

// Numbers from one row of a product's operand to the next: rows are padded to whole units.
template <class Num>
constexpr long row_of(long numbers) {
    return units<Num>(numbers) * Num::PER_UNIT;
}

// ---- Matrix products, C = A · B, in units of the summed dimension (`depth`).

struct PackedA {  // unit d of row i is at[i * row + d * stride]; plain rows and panels both fit
    const Unit* at;
    long row, stride;
    PackedA(const void* at, long row, long stride)
        : at(static_cast<const Unit*>(at)), row(row), stride(stride) {}
};

struct PackedB {  // unit d of column c is at[c / NR * panel + d * stride + c % NR]
    const Unit* at;
    long stride, panel;
    PackedB(const void* at, long stride, long panel)
        : at(static_cast<const Unit*>(at)), stride(stride), panel(panel) {}
};

// GCC must unroll these loops before its other passes to keep the sums in registers.
#define UNROLLED _Pragma("GCC unroll 12")

template <class Num, long ROWS, long VECTORS>
void micro_kernel(PackedA a, const Unit* b, long b_stride, long depth, float* c, long c_row) {
    Vector sums[ROWS][VECTORS];
    UNROLLED for (long i = 0; i < ROWS; ++i)
        UNROLLED for (long j = 0; j < VECTORS; ++j) sums[i][j] = Vector{};
    for (; depth > 0; --depth, a.at += a.stride, b += b_stride) {
        Vector factors[VECTORS];
        UNROLLED for (long j = 0; j < VECTORS; ++j) factors[j] = load(b + j * LANES);
        UNROLLED for (long i = 0; i < ROWS; ++i) {
            const Vector factor = broadcast(a.at[i * a.row]);
            UNROLLED for (long j = 0; j < VECTORS; ++j)
                sums[i][j] = Num::multiply_add(sums[i][j], factor, factors[j]);
        }
    }
    UNROLLED for (long i = 0; i < ROWS; ++i)
        UNROLLED for (long j = 0; j < VECTORS; ++j)
            store(c + i * c_row + j * LANES, sums[i][j]);
}

// A tile one vector wide takes twice the rows: six sums alone would wait for each other.
constexpr long max_rows(long vectors) { return vectors == 1 ? 2 * MR : MR; }

// The micro-kernel for a tile of `rows` rows, chosen among those compiled.
template <class Num, long VECTORS, long ROWS = max_rows(VECTORS)>
void micro_kernel_of_rows(long rows, PackedA a, const Unit* b, long b_stride, long depth, float* c,
                          long c_row) {
    if constexpr (ROWS > 1)
        if (rows < ROWS)
            return micro_kernel_of_rows<Num, VECTORS, ROWS - 1>(rows, a, b, b_stride, depth, c,
                                                                c_row);
    micro_kernel<Num, ROWS, VECTORS>(a, b, b_stride, depth, c, c_row);
}

template <class Num, long VECTORS = NR_VECTORS>
void micro_kernel_of(long rows, long vectors, PackedA a, const Unit* b, long b_stride, long depth,
                     float* c, long c_row) {
    if constexpr (VECTORS > 1)
        if (vectors < VECTORS)
            return micro_kernel_of<Num, VECTORS - 1>(rows, vectors, a, b, b_stride, depth, c,
                                                     c_row);
    micro_kernel_of_rows<Num, VECTORS>(rows, a, b, b_stride, depth, c, c_row);
}

// Computes C a register tile at a time: place(first row, first column) returns where the tile is
// written and the distance of its rows; use(first row, rows, first column, columns) follows.
template <class Num, class Place, class Use>
void macro_kernel(PackedA a, long rows, PackedB b, long depth, long columns, Place place, Use use) {
    for (long column = 0; column < columns; column += NR, b.at += b.panel) {
        const long count = std::min(NR, columns - column);
        const long vectors = (count + LANES - 1) / LANES, most = max_rows(vectors);
        for (long row = 0, tiles = (rows + most - 1) / most; tiles > 0; --tiles) {
            const long size = (rows - row + tiles - 1) / tiles;  // of nearly equal height
            const auto [c, c_row] = place(row, column);
            micro_kernel_of<Num>(size, vectors, {a.at + row * a.row, a.row, a.stride}, b.at,
                                 b.stride, depth, c, c_row);
            use(row, size, column, count);
            row += size;
        }
    }
}

// Calls epilogue(row, first column, columns, sums) for each row of each tile of A · B while its
// sums are in the L1 cache. `sums` is NR wide; beyond `columns` it is undefined.
template <class Num, class Epilogue>
void gemm(PackedA a, long rows, PackedB b, long depth, long columns, Epilogue epilogue) {
    alignas(64) float tile[2 * MR * NR];
    macro_kernel<Num>(
        a, rows, b, depth, columns, [&](long, long) { return std::pair(tile, NR); },
        [&](long row, long size, long column, long count) {
            for (long i = 0; i < size; ++i) epilogue(row + i, column, count, tile + i * NR);
        });
}

// Epilogue: adds the sums to rows that are `row` apart.
inline auto accumulate_into(float* to, long row) {
    return [to, row](long i, long column, long size, const float* sums) {
        float* const at = to + i * row + column;
        for (long c = 0; c < size; c += LANES)
            store(at + c, load(at + c, size - c) + load(sums + c), size - c);
    };
}

// Writes A · B in whole vectors, so rows of `to` must be long enough for that.
template <class Num>
void gemm_into(float* to, long to_row, PackedA a, long rows, PackedB b, long depth, long columns) {
    macro_kernel<Num>(
        a, rows, b, depth, columns,
        [=](long row, long column) { return std::pair(to + row * to_row + column, to_row); },
        [](long, long, long, long) {});
}

// Writes the first `depth` columns of LANES rows of units, as rows that are NR apart.
#if defined(__AVX512F__)
inline void transpose(const Vector (&rows)[16], long depth, Unit* to) {
    __m512 pairs[16], fours[16], eights[16];
    UNROLLED for (long i = 0; i < 16; i += 2) {
        pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    UNROLLED for (long i = 0; i < 16; i += 4)
        UNROLLED for (long j = 0; j < 2; ++j) {
            const __m512d a = (__m512d)pairs[i + j], b = (__m512d)pairs[i + 2 + j];
            fours[i + 2 * j] = (__m512)_mm512_unpacklo_pd(a, b);
            fours[i + 2 * j + 1] = (__m512)_mm512_unpackhi_pd(a, b);
        }
    UNROLLED for (long i = 0; i < 16; i += 8)
        UNROLLED for (long j = 0; j < 4; ++j) {
            eights[i + j] = _mm512_shuffle_f32x4(fours[i + j], fours[i + 4 + j], 0x88);
            eights[i + 4 + j] = _mm512_shuffle_f32x4(fours[i + j], fours[i + 4 + j], 0xdd);
        }
    // eights[i + j]: columns j and 8 + j of rows i to i + 7; eights[i + 4 + j]: 4 + j and 12 + j
    UNROLLED for (long half = 0; half < 2; ++half)
        UNROLLED for (long j = 0; j < 4; ++j) {
            const __m512 low = eights[4 * half + j], high = eights[8 + 4 * half + j];
            const long column = 4 * half + j;
            float* const at = reinterpret_cast<float*>(to);
            if (column < depth) store(at + column * NR, _mm512_shuffle_f32x4(low, high, 0x88));
            if (column + 8 < depth)
                store(at + (column + 8) * NR, _mm512_shuffle_f32x4(low, high, 0xdd));
        }
}
#elif defined(__AVX__)
inline void transpose(const Vector (&rows)[8], long depth, Unit* to) {
    __m256 pairs[8], fours[8];
    UNROLLED for (long i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    UNROLLED for (long i = 0; i < 8; i += 4)
        UNROLLED for (long j = 0; j < 2; ++j) {
            fours[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + 2 + j], 0x44);
            fours[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + 2 + j], 0xee);
        }
    // fours[i + j]: columns j and 4 + j of rows i to i + 3
    UNROLLED for (long j = 0; j < 4; ++j) {
        float* const at = reinterpret_cast<float*>(to) + j * NR;
        if (j < depth) store(at, _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x20));
        if (j + 4 < depth)
            store(at + 4 * NR, _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x31));
    }
}
#else
inline void transpose(const Vector (&rows)[LANES], long depth, Unit* to) {
    float* const at = reinterpret_cast<float*>(to);
    for (long i = 0; i < LANES; ++i)
        for (long d = 0; d < std::min(depth, LANES); ++d) at[d * NR + i] = rows[i][d];
}
#endif

// Rows of units become columns of a panel, padded with zeros to whole vectors.
inline void pack_panel(const Unit* from, long row, long rows, long depth, Unit* panel) {
    for (long r = 0; r < rows; r += LANES)
        for (long d = 0; d < depth; d += LANES) {
            Vector of_rows[LANES];
            for (long i = 0; i < LANES; ++i) {
                const auto* at = reinterpret_cast<const float*>(from + (r + i) * row + d);
                of_rows[i] = r + i < rows ? load(at, depth - d) : Vector{};
            }
            transpose(of_rows, depth - d, panel + d * NR + r);
        }
}

constexpr long packed_units(long columns, long depth) { return round_up(columns, NR) * depth; }

inline PackedB packed_b(const Unit* at, long depth) { return {at, NR, depth * NR}; }

// Packs a matrix [columns, depth] as B of a product that sums over its second dimension.
inline void pack_transposed(const void* numbers, long row, long columns, long depth, Unit* to) {
    const Unit* from = static_cast<const Unit*>(numbers);
    for (long c = 0; c < columns; c += NR, to += depth * NR)
        pack_panel(from + c * row, row, std::min(NR, columns - c), depth, to);
}

// Packs a matrix [rows, columns] as A or B of a product that sums over its first dimension.
template <class Num>
void pack_rows(const typename Num::Value* from, long rows, long columns, Unit* to) {
    static const typename Num::Value zeros[NR] = {};
    for (long c = 0; c < columns; c += NR) {
        const long count = std::min(NR, columns - c);
        for (long r = 0; r < rows; r += Num::PER_UNIT, to += NR) {
            const auto* row = from + r * row_of<Num>(columns) + c;
            std::fill(to + count, to + round_up(count, LANES), 0);
            Num::pair(row, r + 1 < rows ? row + row_of<Num>(columns) : zeros, count, to);
        }
    }
}

template <class Num>
void cast(const float* from, long count, typename Num::Value* to) {
    for (long i = 0; i < count; i += LANES)
        Num::write(to + i, load(from + i, count - i), count - i);
}

// Rows of `size` numbers become rows of whole units, padded with zeros.
template <class Num>
void cast_rows(const float* from, long rows, long size, typename Num::Value* to) {
    for (long r = 0; r < rows; ++r, from += size, to += row_of<Num>(size)) {
        cast<Num>(from, size, to);
        std::fill(to + size, to + row_of<Num>(size), 0);
    }
}

}  // namespace
