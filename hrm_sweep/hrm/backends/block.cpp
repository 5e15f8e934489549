// A post-norm transformer block on a CPU, forward and backward. native.py calls it; eager.py is
// the same mathematics in PyTorch's operators, and tests/formulas.py in plain loops.
//
// WHAT IT COMPUTES. Of B sequences of T tokens, R = B · T rows x of D numbers (norm(y) = y · r(y)
// with r(y) = 1 / sqrt(mean(y²) + 1e-5), RMSNorm without a weight; N heads of K = D / N numbers):
//
//     q, k, v  = W_qkv x                      per head; q, k rotated by position, each times K^-1/4
//     p        = softmax(q kᵀ)                over all tokens of the sequence, not causal
//     attn_out = p v
//     h        = norm(x + W_out attn_out)
//     gate, up = W_gate_up h                  M numbers each
//     act      = silu(gate) · up              silu(g) = g · s(g), s the sigmoid
//     z        = norm(h + W_down act)
//
// and, for grad_z = ∂L/∂z, from the end to the beginning:
//
//     norm:    grad_y = (grad - out · mean(grad · out)) · r(y)             for out = norm(y)
//     MLP:     grad_down = grad of h + W_down act,   grad_act = W_downᵀ grad_down
//              grad_gate = grad_act · up · (s + silu · (1 - s)),   grad_up = grad_act · silu
//              grad_h = grad_down + W_gate_upᵀ (grad_gate, grad_up)
//     attn:    grad_out = grad of x + W_out attn_out,   grad_attn_out = W_outᵀ grad_out
//              grad_p = grad_attn_out vᵀ,   grad_scores = p · (grad_p - Σ p · grad_p)
//              grad_q = grad_scores k,   grad_k = grad_scoresᵀ q,   grad_v = pᵀ grad_attn_out
//              grad_x = grad_out + W_qkvᵀ grad_qkv           (q and k rotated back)
//     weights: grad_W = gradᵀ · input, summed over all rows, for each of the four layers
//
// The second half, from h to z, can be called by itself, on rows of any size: a block that mixes
// over tokens without attention is two such halves (mixer.py), the first on columns of T numbers.
//
// WHY OUR OWN. At the sizes of a small recursive model (D = 64 to 256, R = 148 to 296) a product
// takes 3 to 100 µs; what surrounds it costs as much again: calls (12 of the 19 µs of a 148 x 64
// x 192 product in PyTorch), passes over memory that norms, SwiGLU and casts make one by one,
// attention with 37 tokens. Here all that follows a product is its epilogue, computed while a
// tile of sums is in the L1 cache, and a block is one call each way. Forward and backward take
// 0.4, 0.6 and 0.85 of eager.py's time in bf16 at (D, B) = (64, 4), (128, 8) and (256, 8), T =
// 37, and half of it in fp32, where PyTorch's products leave AVX-512 unused on AMD.
//
// WHAT WAS TRIED BEFORE (CHANGELOG.md, "What was tried"): torch.compile of a block was no faster
// than without, of a whole segment 1.1 to 1.2 times after 17 to 50 s for each size; oneDNN's
// prepacked weights made products 0 to 15 % faster, its fused linear layers SwiGLU by 6 % at
// best; PyTorch's flash attention is slower below 128 tokens. libxsmm 1.17 compiles a micro-kernel
// for each size at run time. On the same panels, on one thread of an AMD CPU with AVX512-BF16, the
// four forward products of a block take these shares of our time, to the same bits:
//
//     (D, B)   (64, 4)   (64, 8)   (128, 4)   (128, 8)   (256, 4)   (256, 8)
//     bf16      0.85      0.87       0.92       0.91       0.94       0.97
//     fp32      0.92      0.92       0.95       0.95       0.99       0.99
//
// Products are half of a block at (64, 4) and two thirds at (128, 8), and blocks are half to two
// thirds of a training step, which would gain 3 to 4 %. Not adopted: a user would have to install a
// system package besides the compiler (PyPI has a placeholder of that name only).
//
// MATRIX PRODUCTS follow BLIS (Van Zee, van de Geijn 2015). The micro-kernel keeps an MR x NR
// tile of C in registers and runs over the summed dimension: load a row of B's panel, broadcast
// MR numbers of A, multiply and add. B is packed into panels of NR columns, so that the
// micro-kernel reads memory in order; A is read in place by its strides, or packed likewise for
// products that sum over rows. There is no loop over blocks of the summed dimension (KC) or of
// C's columns (NC): a panel of depth 256 is 32 KB in bf16, 64 KB in fp32. Models far wider than
// 512 would want those loops. Rows are blocked instead: ROW_BLOCK rows pass all layers behind
// attention while their intermediates are in L2.
//
// A unit of the summed dimension is 32 bits: one fp32 number, or two bf16 numbers for vdpbf16ps,
// which oneDNN and libxsmm call VNNI layout. Sums are fp32, and so are states, norms, softmax,
// rotation and SwiGLU. A CPU without AVX512-BF16 computes bf16 products in fp32, with the
// roundings of bf16. AMX is not used.
//
// MEMORY. The caller allocates weights, states, gradients and what the backward pass needs
// (`Saved`). Weights are packed after every optimizer step, once for each direction: twice their
// size in memory, and a hundredth of a step. Gates and ups are saved as the product leaves them,
// half panels of one row block after the other; attention weights are not saved but computed
// again. Heads are padded to whole vectors, as are rows of attention weights. Where a vector
// would cross the end of an array, a partial load or store does not.
//
// THREADS divide sequences for attention, row blocks for the rest and rows of the gradient for
// the weights. Each number is summed by one thread in one order: how many threads there are
// changes no bit.
//
// ERRORS. native.py checks shapes, types and layout. What fails here is an allocation: no
// exception leaves an OpenMP region or the library, and the caller gets a status.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

// ---- Sizes of the blocking.

#if defined(__AVX512F__)
constexpr long LANES = 16, NR_VECTORS = 4;  // 6 x 4 sums, 4 of B and 1 of A: 29 of 32 registers
#elif defined(__AVX__)
constexpr long LANES = 8, NR_VECTORS = 2;  // of 16 registers
#elif defined(__aarch64__)
constexpr long LANES = 4, NR_VECTORS = 4;  // of 32
#else
constexpr long LANES = 4, NR_VECTORS = 2;
#endif
constexpr long MR = 6, NR = NR_VECTORS * LANES;  // register tile: MR rows x NR columns
constexpr long ROW_BLOCK = 100;   // rows whose intermediates stay in the cache
constexpr long QUERY_BLOCK = 64;  // queries whose attention weights stay in the cache
constexpr float NORM_EPSILON = 1e-5f;  // as in eager.py

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef float UnalignedVector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Unit __attribute__((may_alias));

constexpr long round_up(long count, long multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

// ---- Vectors. With a count, only the first `count` numbers are read or written.

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

inline Vector load(const Unit* from) { return *reinterpret_cast<const UnalignedVector*>(from); }

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

inline Vector broadcast(Unit unit) { return from_bits(Integers{} + unit); }

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

// ---- Value types of the matrix products. Either way a unit of the summed dimension is 32 bits
// wide: one fp32 number, or two bf16 numbers that are neighbours in that dimension.

struct Fp32 {
    using Value = float;
    static constexpr long PER_UNIT = 1;
    static Vector multiply_add(Vector sums, Vector a, Vector b) { return sums + a * b; }
    static Vector read(const Value* from) { return load(from); }
    static void write(Value* to, Vector all, long count) { store(to, all, count); }
    // Makes units of a row's numbers and, if a unit holds two, the next row's.
    static void pair(const Value* row, const Value*, long count, Unit* to) {
        std::memcpy(to, row, 4 * count);
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
    static void pair(const Value* row, const Value* next, long count, Unit* to) {
        for (long i = 0; i < count; ++i) to[i] = row[i] | next[i] << 16;
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
auto accumulate_into(float* to, long row) {
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

// ---- Packing.

// Rows of units become columns of a panel, padded with zeros to whole vectors.
void pack_panel(const Unit* from, long row, long rows, long depth, Unit* panel) {
    for (long d = 0; d < depth; ++d, panel += NR) {
        for (long r = 0; r < rows; ++r) panel[r] = from[r * row + d];
        for (long r = rows; r < round_up(rows, LANES); ++r) panel[r] = 0;
    }
}

constexpr long packed_units(long columns, long depth) { return round_up(columns, NR) * depth; }

PackedB packed_b(const Unit* at, long depth) { return {at, NR, depth * NR}; }

// Packs a matrix [columns, depth] as B of a product that sums over its second dimension.
void pack_transposed(const void* numbers, long row, long columns, long depth, Unit* to) {
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

// ---- Memory and threads.

// Lays arrays out one after the other, each at a multiple of 64 bytes; without a base, it only
// counts the bytes.
class Arena {
  public:
    explicit Arena(void* base) : base(static_cast<char*>(base)) {}

    template <class T>
    T* take(long count) {
        T* const taken = base == nullptr ? nullptr : reinterpret_cast<T*>(base + size);
        size += round_up(count * static_cast<long>(sizeof(T)), 64);
        return taken;
    }

    long bytes() const { return size; }

  private:
    char* base;
    long size = 0;
};

// Uninitialized memory for `count` numbers; throws std::bad_alloc.
template <class T>
struct Scratch {
    T* at;
    explicit Scratch(long count)
        : at(static_cast<T*>(std::aligned_alloc(64, round_up(count * sizeof(T), 64)))) {
        if (at == nullptr && count > 0) throw std::bad_alloc();
    }
    Scratch(const Scratch&) = delete;
    ~Scratch() { std::free(at); }
    operator T*() const { return at; }
};

// Calls work(0), work(stride), … below `end` on so many threads. No exception may leave an OpenMP
// region, so that of a failed allocation is thrown again behind it.
template <class Work>
void parallel_for(long end, long stride, long threads, Work work) {
    std::atomic<bool> is_out_of_memory{false};
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long i = 0; i < end; i += stride) {
        try {
            work(i);
        } catch (const std::bad_alloc&) {
            is_out_of_memory = true;
        }
    }
    if (is_out_of_memory) throw std::bad_alloc();
}

}  // namespace

// ---- Sizes of a call, the same as in block_library.py, which compares `shape_layout`.

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

template <class Work>
void with_value_type(const Shape& s, Work work) {
    if (s.bf16)
        work(Bf16{});
    else
        work(Fp32{});
}

// Columns of the packed gate_up: panels of NR / 2 gates followed by their NR / 2 ups.
long gate_up_columns(long width) { return 2 * round_up(width, NR / 2); }

long head_size(const Shape& s) { return s.hidden / s.heads; }
long padded_head(const Shape& s) { return round_up(head_size(s), LANES); }
long padded_tokens(const Shape& s) { return round_up(s.tokens, LANES); }
long padded_hidden(const Shape& s) { return round_up(s.hidden, LANES); }
long qkv_row(const Shape& s) { return round_up(3 * s.hidden, LANES); }
long one_head(const Shape& s) { return s.tokens * padded_head(s); }
long all_heads(const Shape& s) { return s.heads * one_head(s); }

// Weights are packed as B: transposed for the forward pass, as they are for the backward.
template <class Num>
struct SwiGLUWeights {
    Unit *gate_up, *down, *gate_up_backward, *down_backward;
    SwiGLUWeights(const Shape& s, Arena& arena) {
        const long D = s.hidden, M = s.width;
        gate_up = arena.take<Unit>(gate_up_columns(M) * units<Num>(D));
        down = arena.take<Unit>(packed_units(D, units<Num>(M)));
        gate_up_backward = arena.take<Unit>(packed_units(D, units<Num>(2 * M)));
        down_backward = arena.take<Unit>(packed_units(M, units<Num>(D)));
    }
};

template <class Num>
struct Weights : SwiGLUWeights<Num> {
    Unit *q, *kv, *out, *qkv_backward, *out_backward;
    Weights(const Shape& s, Arena& arena) : SwiGLUWeights<Num>(s, arena) {
        const long D = s.hidden;
        q = arena.take<Unit>(packed_units(D, units<Num>(D)));
        kv = arena.take<Unit>(packed_units(2 * D, units<Num>(D)));
        out = arena.take<Unit>(packed_units(D, units<Num>(D)));
        qkv_backward = arena.take<Unit>(packed_units(D, units<Num>(3 * D)));
        out_backward = arena.take<Unit>(packed_units(D, units<Num>(D)));
    }
};

// What the backward pass needs of the forward pass: of the second half, and of the whole block.
template <class Num>
struct SavedSwiGLU {
    using Value = typename Num::Value;
    Value* gate_up;
    float* out_inverse;
    SavedSwiGLU(const Shape& s, Arena& arena) : columns(gate_up_columns(s.width)) {
        gate_up = arena.take<Value>(s.batch * s.tokens * columns);
        out_inverse = arena.take<float>(s.batch * s.tokens);
    }
    // Gates from column m on of row i in the block of `count` rows that begins at `first`; their
    // ups are NR / 2 behind. A row block's panels are in the order in which gemm computes them.
    Value* gates(long first, long count, long i, long m) const {
        constexpr long half = NR / 2;
        return gate_up + first * columns + (m / half * count + i) * NR + m % half;
    }

  private:
    long columns;
};

template <class Num>
struct Saved : SavedSwiGLU<Num> {
    using Value = typename Num::Value;
    Value *x, *attn_out;
    float *q, *k, *v, *h, *h_inverse;
    Saved(const Shape& s, Arena& arena) : SavedSwiGLU<Num>(s, arena) {
        const long R = s.batch * s.tokens;
        x = arena.take<Value>(R * s.hidden);
        attn_out = arena.take<Value>(R * s.hidden);
        q = arena.take<float>(s.batch * all_heads(s));
        k = arena.take<float>(s.batch * all_heads(s));
        v = arena.take<float>(s.batch * all_heads(s));
        h = arena.take<float>(R * s.hidden);
        h_inverse = arena.take<float>(R);
    }
};

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

// ---- RMSNorm, rotary positions, softmax.

// Writes x / rms(x) and returns 1 / rms(x).
float normalize(const float* x, long size, float* to) {
    Vector squares = {};
    for (long i = 0; i < size; i += LANES) {
        const Vector part = load(x + i, size - i);
        squares += part * part;
    }
    const float inverse = 1.0f / std::sqrt(reduce_sum(squares) / size + NORM_EPSILON);
    for (long i = 0; i < size; i += LANES) store(to + i, load(x + i, size - i) * inverse, size - i);
    return inverse;
}

void normalize_backward(const float* grad, const float* out, float inverse, long size, float* to) {
    Vector products = {};
    for (long i = 0; i < size; i += LANES)
        products += load(grad + i, size - i) * load(out + i, size - i);
    const float mean = reduce_sum(products) / size;
    for (long i = 0; i < size; i += LANES) {
        const long count = size - i;
        store(to + i, (load(grad + i, count) - load(out + i, count) * mean) * inverse, count);
    }
}

// Rotates a query or key by its row of the table, scaled by K^-1/4; sign -1: the transposed map,
// for gradients. Without a table it only scales.
void apply_rope(const float* __restrict from, const float* __restrict table_row, float sign,
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

const float* rope_row(const float* table, const Shape& s, long token) {
    return table == nullptr ? nullptr : table + token * head_size(s);
}

// Attention weights softmax(q · k) of `count` queries, [count, padded tokens], zero in the padding.
void attention_weights(const Shape& s, const float* q, long count, const Unit* keys, float* to) {
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
void softmax_backward(const float* probs, long rows, long size, float* grads) {
    for (long i = 0; i < rows; ++i, probs += size, grads += size) {
        Vector products = {};
        for (long t = 0; t < size; t += LANES) products += load(probs + t) * load(grads + t);
        const float dot = reduce_sum(products);
        for (long t = 0; t < size; t += LANES)
            store(grads + t, load(probs + t) * (load(grads + t) - dot));
    }
}

// ---- Attention of one sequence. Heads are [N, T, padded K] in fp32.

// Rotated queries, keys and values by head, from qkv [T, padded 3 D].
void split_heads(const Shape& s, const float* qkv, const float* rope_table, float* q, float* k,
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
void attend(const Shape& s, const float* q, const float* k, const float* v,
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
void attend_head_backward(const Shape& s, const float* q, const float* k, const float* v,
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
void attend_backward(const Shape& s, const float* q, const float* k, const float* v,
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

// ---- Forward pass.

// attn_out of sequence b.
template <class Num>
void forward_attention(const Shape& s, long b, const float* x, const Weights<Num>& w,
                       const float* rope_table, const Saved<Num>* saved,
                       typename Num::Value* attn_out) {
    using Value = typename Num::Value;
    const long T = s.tokens, D = s.hidden;
    Scratch<Value> cast_x(saved ? 0 : T * D);
    Scratch<float> qkv(T * qkv_row(s)), heads(saved ? 0 : 3 * all_heads(s));
    Value* const a = saved ? saved->x + b * T * D : cast_x.at;
    float* const q = saved ? saved->q + b * all_heads(s) : heads.at;
    float* const k = saved ? saved->k + b * all_heads(s) : q + all_heads(s);
    float* const v = saved ? saved->v + b * all_heads(s) : k + all_heads(s);
    cast<Num>(x + b * T * D, T * D, a);
    gemm_into<Num>(qkv, qkv_row(s), {a, units<Num>(D), 1}, s.queries,
                   packed_b(w.q, units<Num>(D)), units<Num>(D), D);
    gemm_into<Num>(qkv + D, qkv_row(s), {a, units<Num>(D), 1}, T, packed_b(w.kv, units<Num>(D)),
                   units<Num>(D), 2 * D);
    split_heads(s, qkv, rope_table, q, k, v);
    attend<Num>(s, q, k, v, attn_out + b * s.queries * D);
}

// act = silu(gate) · up of a block of rows, from y = h; gates and ups are saved on the way.
template <class Num>
void forward_swiglu(const Shape& s, long first, long count, const typename Num::Value* y,
                    const SwiGLUWeights<Num>& w, const SavedSwiGLU<Num>* saved,
                    typename Num::Value* act) {
    const long D = s.hidden, M = s.width;
    gemm<Num>({y, units<Num>(D), 1}, count, packed_b(w.gate_up, units<Num>(D)), units<Num>(D),
              gate_up_columns(M), [&](long i, long column, long, const float* sums) {
                  const long m = column / 2, size = std::min<long>(NR / 2, M - m);
                  for (long c = 0; c < size; c += LANES) {
                      const Vector gate = load(sums + c), up = load(sums + NR / 2 + c);
                      Num::write(act + i * M + m + c, gate * sigmoid(gate) * up, size - c);
                      if (!saved) continue;
                      auto* to = saved->gates(first, count, i, m + c);
                      Num::write(to, gate, LANES);
                      Num::write(to + NR / 2, up, LANES);
                  }
              });
}

// Epilogue: writes to row i of `total` the sums and row before(i), each of D numbers.
template <class Before>
auto residual(float* total, long D, Before before) {
    return [=](long i, long column, long size, const float* sums) {
        const float* row = before(i) + column;
        for (long c = 0; c < size; c += LANES)
            store(total + i * D + column + c, load(row + c, size - c) + load(sums + c), size - c);
    };
}

// The second half of a block for the `count` rows from `first` on, which are at h and z.
template <class Num>
void forward_second_half(const Shape& s, long first, long count, const float* h,
                         const SwiGLUWeights<Num>& w, float* z, const SavedSwiGLU<Num>* saved) {
    using Value = typename Num::Value;
    const long D = s.hidden, M = s.width;
    Scratch<float> total(count * D);
    Scratch<Value> y(count * row_of<Num>(D)), act(count * M);
    cast_rows<Num>(h, count, D, y);
    forward_swiglu<Num>(s, first, count, y, w, saved, act);
    gemm<Num>({act, units<Num>(M), 1}, count, packed_b(w.down, units<Num>(M)), units<Num>(M), D,
              residual(total, D, [=](long i) { return h + i * D; }));
    for (long i = 0; i < count; ++i) {
        const float inverse = normalize(total + i * D, D, z + i * D);
        if (saved) saved->out_inverse[first + i] = inverse;
    }
}

// z of the `count` output rows from `first` on: everything behind attention, while in the cache.
template <class Num>
void forward_mlp(const Shape& s, long first, long count, const float* x,
                 const typename Num::Value* attn_out, const Weights<Num>& w, float* z,
                 const Saved<Num>* saved) {
    const long D = s.hidden;
    Scratch<float> total(count * D), own_h(saved ? 0 : count * D);
    float* const h = saved ? saved->h + first * D : own_h.at;
    gemm<Num>({attn_out + first * D, units<Num>(D), 1}, count, packed_b(w.out, units<Num>(D)),
              units<Num>(D), D, residual(total, D, [=, &s](long i) {
                  const long row = first + i;
                  return x + (row / s.queries * s.tokens + row % s.queries) * D;
              }));
    for (long i = 0; i < count; ++i) {
        const float inverse = normalize(total + i * D, D, h + i * D);
        if (saved) saved->h_inverse[first + i] = inverse;
    }
    forward_second_half<Num>(s, first, count, h, w, z + first * D, saved);
}

template <class Num>
void forward(const Shape& s, const float* x, const Weights<Num>& w, const float* rope_table,
             float* z, const Saved<Num>* saved) {
    const long rows = s.batch * s.queries;
    Scratch<typename Num::Value> own_attn_out(saved ? 0 : rows * s.hidden);
    auto* const attn_out = saved ? saved->attn_out : own_attn_out.at;
    parallel_for(s.batch, 1, s.threads, [&](long b) {
        forward_attention<Num>(s, b, x, w, rope_table, saved, attn_out);
    });
    parallel_for(rows, ROW_BLOCK, s.threads, [&](long first) {
        forward_mlp<Num>(s, first, std::min(ROW_BLOCK, rows - first), x, attn_out, w, z, saved);
    });
}

// ---- Backward pass.

// Gradients of the outputs of the linear layers, and what the weights' gradients need besides: of
// the second half, and of the whole block.
template <class Num>
struct SwiGLUScratch {
    Scratch<typename Num::Value> grad_down, grad_gate_up, act, y;
    explicit SwiGLUScratch(const Shape& s) : SwiGLUScratch(s, s.batch * s.tokens) {}

  private:
    SwiGLUScratch(const Shape& s, long R)
        : grad_down(R * row_of<Num>(s.hidden)), grad_gate_up(R * 2 * s.width), act(R * s.width),
          y(R * row_of<Num>(s.hidden)) {}
};

template <class Num>
struct BackwardScratch : SwiGLUScratch<Num> {
    Scratch<typename Num::Value> grad_out, grad_qkv;
    Scratch<float> grad_attn_out;
    explicit BackwardScratch(const Shape& s) : BackwardScratch(s, s.batch * s.tokens) {}

  private:
    BackwardScratch(const Shape& s, long R)
        : SwiGLUScratch<Num>(s), grad_out(R * s.hidden), grad_qkv(R * 3 * s.hidden),
          grad_attn_out(R * padded_hidden(s)) {}
};

// grad_gate_up and act of a block of rows, from grad_down.
template <class Num>
void backward_swiglu(const Shape& s, long first, long count, const SwiGLUWeights<Num>& w,
                     const SavedSwiGLU<Num>& saved, const SwiGLUScratch<Num>& t) {
    const long D = s.hidden, M = s.width;
    gemm<Num>({t.grad_down + first * row_of<Num>(D), units<Num>(D), 1}, count,
              packed_b(w.down_backward, units<Num>(D)), units<Num>(D), M,
              [&](long i, long column, long size, const float* sums) {
                  const long r = first + i;
                  for (long c = 0; c < size; c += LANES) {
                      const long m = column + c, left = size - c;
                      const auto* gates = saved.gates(first, count, i, m);
                      const Vector gate = Num::read(gates), sig = sigmoid(gate);
                      const Vector up = Num::read(gates + NR / 2), grad = load(sums + c);
                      const Vector silu = gate * sig;
                      auto* const grads = t.grad_gate_up + r * 2 * M + m;
                      Num::write(grads, grad * up * (sig + silu * (1.0f - sig)), left);
                      Num::write(grads + M, grad * silu, left);
                      Num::write(t.act + r * M + m, silu * up, left);
                  }
              });
}

// From grad_z to grad_h for a block of rows.
template <class Num>
void backward_second_half(const Shape& s, long first, long count, const float* grad_z,
                          const float* z, const float* h, const SwiGLUWeights<Num>& w,
                          const SavedSwiGLU<Num>& saved, const SwiGLUScratch<Num>& t,
                          float* grad_h) {
    const long D = s.hidden, M = s.width;
    for (long r = first; r < first + count; ++r)
        normalize_backward(grad_z + r * D, z + r * D, saved.out_inverse[r], D, grad_h + r * D);
    cast_rows<Num>(grad_h + first * D, count, D, t.grad_down + first * row_of<Num>(D));
    cast_rows<Num>(h + first * D, count, D, t.y + first * row_of<Num>(D));
    backward_swiglu<Num>(s, first, count, w, saved, t);
    gemm<Num>({t.grad_gate_up + first * 2 * M, units<Num>(2 * M), 1}, count,
              packed_b(w.gate_up_backward, units<Num>(2 * M)), units<Num>(2 * M), D,
              accumulate_into(grad_h + first * D, D));
}

// From grad_z to grad_attn_out for a block of rows; grad_x receives that of the residual path.
template <class Num>
void backward_mlp(const Shape& s, long first, long count, const float* grad_z, const float* z,
                  const Weights<Num>& w, const Saved<Num>& saved, const BackwardScratch<Num>& t,
                  float* grad_x) {
    const long D = s.hidden;
    backward_second_half<Num>(s, first, count, grad_z, z, saved.h, w, saved, t, grad_x);
    for (long r = first; r < first + count; ++r)
        normalize_backward(grad_x + r * D, saved.h + r * D, saved.h_inverse[r], D, grad_x + r * D);
    cast<Num>(grad_x + first * D, count * D, t.grad_out + first * D);
    gemm_into<Num>(t.grad_attn_out + first * padded_hidden(s), padded_hidden(s),
                   {t.grad_out + first * D, units<Num>(D), 1}, count,
                   packed_b(w.out_backward, units<Num>(D)), units<Num>(D), D);
}

// grad_qkv of sequence b; its share of the states' gradient is added to grad_x.
template <class Num>
void backward_attention(const Shape& s, long b, const Weights<Num>& w, const float* rope_table,
                        const Saved<Num>& saved, const BackwardScratch<Num>& t, float* grad_x) {
    const long T = s.tokens, D = s.hidden, heads = b * all_heads(s), first = b * T;
    attend_backward<Num>(s, saved.q + heads, saved.k + heads, saved.v + heads,
                         t.grad_attn_out + first * padded_hidden(s), rope_table,
                         t.grad_qkv + first * 3 * D);
    gemm<Num>({t.grad_qkv + first * 3 * D, units<Num>(3 * D), 1}, T,
              packed_b(w.qkv_backward, units<Num>(3 * D)), units<Num>(3 * D), D,
              accumulate_into(grad_x + first * D, D));
}

// Adds grads^T · inputs, [outputs, columns], to the gradient of a layer's weights, if wanted.
template <class Num>
void add_weight_gradient(const typename Num::Value* grads, const typename Num::Value* inputs,
                         long rows, long outputs, long columns, long threads, float* to) {
    if (to == nullptr) return;
    const long depth = units<Num>(rows);
    Scratch<int32_t> a(packed_units(outputs, depth)), b(packed_units(columns, depth));
    pack_rows<Num>(grads, rows, outputs, a);
    pack_rows<Num>(inputs, rows, columns, b);
    parallel_for(outputs, NR, threads, [&](long first) {
        gemm<Num>({a + first * depth, 1, NR}, std::min(NR, outputs - first), packed_b(b, depth),
                  depth, columns, accumulate_into(to + first * columns, columns));
    });
}

template <class Num>
void add_swiglu_gradients(const Shape& s, const SwiGLUScratch<Num>& t, float* gate_up,
                          float* down) {
    const long D = s.hidden, M = s.width, R = s.batch * s.tokens;
    add_weight_gradient<Num>(t.grad_down, t.act, R, D, M, s.threads, down);
    add_weight_gradient<Num>(t.grad_gate_up, t.y, R, 2 * M, D, s.threads, gate_up);
}

struct WeightGradients {
    float *qkv, *out, *gate_up, *down;  // shaped like the weights; added to; null: not wanted
};

template <class Num>
void backward(const Shape& s, const float* grad_z, const float* z, const Weights<Num>& w,
              const float* rope_table, const Saved<Num>& saved, float* grad_x,
              const WeightGradients& to) {
    const long D = s.hidden, R = s.batch * s.tokens;
    const BackwardScratch<Num> t(s);
    parallel_for(R, ROW_BLOCK, s.threads, [&](long first) {
        backward_mlp<Num>(s, first, std::min(ROW_BLOCK, R - first), grad_z, z, w, saved, t, grad_x);
    });
    parallel_for(s.batch, 1, s.threads, [&](long b) {
        backward_attention<Num>(s, b, w, rope_table, saved, t, grad_x);
    });
    add_swiglu_gradients<Num>(s, t, to.gate_up, to.down);
    add_weight_gradient<Num>(t.grad_out, saved.attn_out, R, D, D, s.threads, to.out);
    add_weight_gradient<Num>(t.grad_qkv, saved.x, R, 3 * D, D, s.threads, to.qkv);
}

// The second half of a block by itself, on s.batch rows.
template <class Num>
void second_half(const Shape& s, const float* x, const SwiGLUWeights<Num>& w, float* z,
                 const SavedSwiGLU<Num>* saved) {
    parallel_for(s.batch, ROW_BLOCK, s.threads, [&](long first) {
        const long at = first * s.hidden, count = std::min(ROW_BLOCK, s.batch - first);
        forward_second_half<Num>(s, first, count, x + at, w, z + at, saved);
    });
}

template <class Num>
void second_half_backward(const Shape& s, const float* grad_z, const float* z, const float* x,
                          const SwiGLUWeights<Num>& w, const SavedSwiGLU<Num>& saved, float* grad_x,
                          float* grad_gate_up, float* grad_down) {
    const SwiGLUScratch<Num> t(s);
    parallel_for(s.batch, ROW_BLOCK, s.threads, [&](long first) {
        const long count = std::min(ROW_BLOCK, s.batch - first);
        backward_second_half<Num>(s, first, count, grad_z, z, x, w, saved, t, grad_x);
    });
    add_swiglu_gradients<Num>(s, t, grad_gate_up, grad_down);
}

// ---- Packing of weights, whose rows are padded to whole units.

template <class Num>
void pack(const Shape& s, const void* gate_up, const void* down, const SwiGLUWeights<Num>& to) {
    using Value = typename Num::Value;
    const long D = s.hidden, M = s.width, row = units<Num>(D), half = NR / 2;
    pack_transposed(down, units<Num>(M), D, units<Num>(M), to.down);
    const Unit* gates = static_cast<const Unit*>(gate_up);
    for (long m = 0; m < M; m += half) {  // gates and their ups share a panel: see forward_swiglu
        Unit* panel = to.gate_up + 2 * m * row;
        const long count = std::min(half, M - m);
        pack_panel(gates + m * row, row, count, row, panel);
        pack_panel(gates + (M + m) * row, row, count, row, panel + half);
    }
    pack_rows<Num>(static_cast<const Value*>(gate_up), 2 * M, D, to.gate_up_backward);
    pack_rows<Num>(static_cast<const Value*>(down), D, M, to.down_backward);
}

template <class Num>
void pack(const Shape& s, const void* qkv, const void* out, const void* gate_up, const void* down,
          const Weights<Num>& to) {
    using Value = typename Num::Value;
    const long D = s.hidden, row = units<Num>(D);
    const Unit* qkv_units = static_cast<const Unit*>(qkv);
    pack_transposed(qkv_units, row, D, row, to.q);
    pack_transposed(qkv_units + D * row, row, 2 * D, row, to.kv);
    pack_transposed(out, row, D, row, to.out);
    pack_rows<Num>(static_cast<const Value*>(qkv), 3 * D, D, to.qkv_backward);
    pack_rows<Num>(static_cast<const Value*>(out), D, D, to.out_backward);
    pack<Num>(s, gate_up, down, to);
}

template <template <class> class Layout>
int64_t bytes_of(const Shape& s) {
    Arena arena(nullptr);
    with_value_type(s, [&](auto num) { Layout<decltype(num)>(s, arena); });
    return arena.bytes();
}

enum Status { OK, OUT_OF_MEMORY, FAILED };  // as in block_library.py

// Calls work(type of the products' values); no exception leaves.
template <class Work>
int guarded(const Shape& s, Work work) noexcept {
    try {
        with_value_type(s, work);
        return OK;
    } catch (const std::bad_alloc&) {
        return OUT_OF_MEMORY;
    } catch (...) {
        return FAILED;
    }
}

}  // namespace

// ---- The functions that native.py calls. Pointers are to contiguous tensors on the CPU, checked
// there; states are fp32 [B · T, D]. Those with work to do return a Status.

extern "C" {

// Each field's name, offset and size and the size of Shape, as block_library.py writes them.
const char* shape_layout() {
    static char text[512];
    int used = 0;
#define DESCRIBE(name)                                                                      \
    used += std::snprintf(text + used, sizeof text - used, #name " %zu %zu, ",              \
                          offsetof(Shape, name), sizeof(Shape::name));
    SHAPE_FIELDS(DESCRIBE)
#undef DESCRIBE
    std::snprintf(text + used, sizeof text - used, "%zu", sizeof(Shape));
    return text;
}

int64_t bytes_of_weights(const Shape* s) { return bytes_of<Weights>(*s); }

int64_t bytes_saved(const Shape* s) { return bytes_of<Saved>(*s); }

// Packs weights [outputs, inputs] of the products' type into `weights`.
int pack_weights(const Shape* s, const void* qkv, const void* out, const void* gate_up,
                 const void* down, void* weights) {
    return guarded(*s, [&](auto num) {
        Arena arena(weights);
        pack(*s, qkv, out, gate_up, down, Weights<decltype(num)>(*s, arena));
    });
}

// Writes z [B · queries, D]. `saved` may be null if no backward pass follows; else queries = T.
int block_forward(const Shape* s, const float* x, void* weights, const float* rope_table, float* z,
                  void* saved) {
    return guarded(*s, [&](auto num) {
        using Num = decltype(num);
        Arena weights_arena(weights), saved_arena(saved);
        const Weights<Num> w(*s, weights_arena);
        const Saved<Num> all(*s, saved_arena);
        forward<Num>(*s, x, w, rope_table, z, saved ? &all : nullptr);
    });
}

// Writes grad_x, and adds to the gradients of the weights that are not null.
int block_backward(const Shape* s, const float* grad_z, const float* z, void* weights,
                   const float* rope_table, void* saved, float* grad_x, float* grad_qkv,
                   float* grad_out, float* grad_gate_up, float* grad_down) {
    return guarded(*s, [&](auto num) {
        using Num = decltype(num);
        Arena weights_arena(weights), saved_arena(saved);
        const Weights<Num> w(*s, weights_arena);
        const Saved<Num> all(*s, saved_arena);
        backward<Num>(*s, grad_z, z, w, rope_table, all, grad_x,
                      {grad_qkv, grad_out, grad_gate_up, grad_down});
    });
}

// The same of the second half by itself, z = norm(x + W_down act): `batch` rows x of `hidden`
// numbers, each a sequence of one token. Rows of gate_up are padded to whole units.

int64_t bytes_of_swiglu_weights(const Shape* s) { return bytes_of<SwiGLUWeights>(*s); }

int64_t bytes_saved_by_swiglu(const Shape* s) { return bytes_of<SavedSwiGLU>(*s); }

int pack_swiglu(const Shape* s, const void* gate_up, const void* down, void* weights) {
    return guarded(*s, [&](auto num) {
        using Num = decltype(num);
        Arena arena(weights);
        pack<Num>(*s, gate_up, down, SwiGLUWeights<Num>(*s, arena));
    });
}

int swiglu_forward(const Shape* s, const float* x, void* weights, float* z, void* saved) {
    return guarded(*s, [&](auto num) {
        using Num = decltype(num);
        Arena weights_arena(weights), saved_arena(saved);
        const SwiGLUWeights<Num> w(*s, weights_arena);
        const SavedSwiGLU<Num> all(*s, saved_arena);
        second_half<Num>(*s, x, w, z, saved ? &all : nullptr);
    });
}

int swiglu_backward(const Shape* s, const float* grad_z, const float* z, const float* x,
                    void* weights, void* saved, float* grad_x, float* grad_gate_up,
                    float* grad_down) {
    return guarded(*s, [&](auto num) {
        using Num = decltype(num);
        Arena weights_arena(weights), saved_arena(saved);
        const SwiGLUWeights<Num> w(*s, weights_arena);
        const SavedSwiGLU<Num> all(*s, saved_arena);
        second_half_backward<Num>(*s, grad_z, z, x, w, all, grad_x, grad_gate_up, grad_down);
    });
}

}  // extern "C"
