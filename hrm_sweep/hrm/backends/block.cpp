// The block of kernels.py, forward and backward, for `native.py`: the same mathematics with few
// passes over memory. Every product of matrices, those of attention too, goes through one `tile`,
// whose sums stay in registers; what follows a product is done while its result is in the cache.
//
// Numbers in products are fp32, or bf16 (summed in fp32) where the CPU multiplies in it. Either way
// the unit of a product is 32 bits wide: one fp32 number or two bf16 numbers that are neighbours in
// the dimension summed over. Norm, softmax, rotation and SwiGLU compute in fp32. Which thread
// computes what changes no bit: each number is summed by one thread, in one order.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr long LANES = 16, MOST_VECTORS = 4;  // 6 x 4 sums, 4 + 1 factors: 29 of 32 registers
#elif defined(__AVX__)
constexpr long LANES = 8, MOST_VECTORS = 2;  // of 16
#elif defined(__aarch64__)
constexpr long LANES = 4, MOST_VECTORS = 4;  // of 32
#else
constexpr long LANES = 4, MOST_VECTORS = 2;
#endif
constexpr long MOST_ROWS = 6, PANEL = MOST_VECTORS * LANES;
constexpr long ROWS_AT_ONCE = 100;  // of a chunk, whose intermediate results stay in the cache
constexpr long QUERIES_AT_ONCE = 64;  // whose attention weights stay in the cache
constexpr float NORM_EPSILON = 1e-5f;  // as in kernels.py

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Integers __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Unit __attribute__((may_alias));

constexpr long rounded_up(long count, long multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

// ---- Vectors; with a count, only so many of their first numbers are read or written.

inline Vector load(const float* from, long count = LANES) {
    if (count >= LANES) return *reinterpret_cast<const Unaligned*>(from);
    Vector all = {};
    std::memcpy(&all, from, 4 * count);
    return all;
}

inline void store(float* to, Vector all, long count = LANES) {
    if (count >= LANES)
        *reinterpret_cast<Unaligned*>(to) = all;
    else
        std::memcpy(to, &all, 4 * count);
}

inline Vector load(const Unit* from) { return *reinterpret_cast<const Unaligned*>(from); }

inline Vector of_bits(Integers bits) {
    Vector same;
    std::memcpy(&same, &bits, sizeof same);
    return same;
}

inline Integers bits_of(Vector all) {
    Integers same;
    std::memcpy(&same, &all, sizeof same);
    return same;
}

inline Vector everywhere(Unit unit) { return of_bits(Integers{} + unit); }

#if defined(__AVX512F__)
inline float sum(Vector all) { return _mm512_reduce_add_ps(all); }

inline float largest(Vector all) { return _mm512_reduce_max_ps(all); }

inline Vector between(Vector x, float low, float high) {
    return _mm512_min_ps(_mm512_max_ps(x, Vector{} + low), Vector{} + high);
}

inline Vector rounded(Vector x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT); }

inline Vector scaled(Vector x, Vector power) { return _mm512_scalef_ps(x, power); }

inline Vector reciprocal(Vector x) {  // of 14 bits, then by a step of Newton's, of all
    const Vector near = _mm512_rcp14_ps(x);
    return near * (2.0f - x * near);
}
#else
inline float sum(Vector all) {
    float total = 0;
    for (long i = 0; i < LANES; ++i) total += all[i];
    return total;
}

inline float largest(Vector all) {
    float most = all[0];
    for (long i = 1; i < LANES; ++i) most = std::max(most, all[i]);
    return most;
}

inline Vector between(Vector x, float low, float high) {
    x = x > low ? x : Vector{} + low;
    return x < high ? x : Vector{} + high;
}

inline Vector rounded(Vector x) { return (x + 12582912.0f) - 12582912.0f; }  // 1.5 * 2^23

inline Vector scaled(Vector x, Vector power) {  // x · 2^power
    return x * of_bits((__builtin_convertvector(power, Integers) + 127) << 23);
}

inline Vector reciprocal(Vector x) { return 1.0f / x; }
#endif

// Relative error below 2e-7 from exp(-87) to exp(80); beyond that, the value there.
inline Vector exponential(Vector x) {
    x = between(x, -87.0f, 80.0f);
    const Vector power = rounded(x * 1.44269504f);
    x -= power * 0.693359375f;  // log 2 in two parts, the first exact in few bits
    x -= power * -2.12194440e-4f;
    Vector p = x * 1.9875691500e-4f + 1.3981999507e-3f;  // Cephes, expf
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    p = p * x * x + x + 1.0f;
    return scaled(p, power);
}

inline Vector sigmoid(Vector x) { return reciprocal(exponential(-x) + 1.0f); }

// ---- Numbers of products.

struct Fp32 {
    using Number = float;
    static constexpr long PER_UNIT = 1;
    static Vector product(Vector sums, Vector left, Vector right) { return sums + left * right; }
    static Vector read(const Number* from) { return load(from); }
    static void write(Number* to, Vector all, long count) { store(to, all, count); }
    // Units of the numbers of a row and, where it takes two for one, of the next row.
    static void pair(const Number* row, const Number*, long count, Unit* to) {
        std::memcpy(to, row, 4 * count);
    }
};

struct Bf16 {
    using Number = uint16_t;
    static constexpr long PER_UNIT = 2;
#if defined(__AVX512BF16__)
    static Vector product(Vector sums, Vector left, Vector right) {
        return _mm512_dpbf16_ps(sums, (__m512bh)left, (__m512bh)right);
    }
    static Halves rounded_to_bf16(Vector all) { return (Halves)_mm512_cvtneps_pbh(all); }
#else
    static Vector product(Vector sums, Vector left, Vector right) {
        const Integers a = bits_of(left), b = bits_of(right), high = Integers{} + ~0xffff;
        return sums + of_bits(a << 16) * of_bits(b << 16) + of_bits(a & high) * of_bits(b & high);
    }
    static Halves rounded_to_bf16(Vector all) {  // to the nearest, of two to the even one
        const Integers bits = bits_of(all);
        return __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, Halves);
    }
#endif
    static Vector read(const Number* from) {
        Halves all;
        std::memcpy(&all, from, sizeof all);
        return of_bits(__builtin_convertvector(all, Integers) << 16);
    }
    static void write(Number* to, Vector all, long count) {
        const Halves rounded = rounded_to_bf16(all);
        if (count >= LANES)
            std::memcpy(to, &rounded, sizeof rounded);
        else
            std::memcpy(to, &rounded, 2 * count);
    }
    static void pair(const Number* row, const Number* next, long count, Unit* to) {
        for (long i = 0; i < count; ++i) to[i] = row[i] | next[i] << 16;
    }
};

template <class Num>
constexpr long steps(long numbers) {  // units that hold so many numbers
    return (numbers + Num::PER_UNIT - 1) / Num::PER_UNIT;
}

// ---- Products.

struct Left {  // unit s of row i is at[i * row + s * step]
    const Unit* at;
    long row, step;
    Left(const void* at, long row, long step)
        : at(static_cast<const Unit*>(at)), row(row), step(step) {}
};

struct Right {  // unit s of column c is at[c / PANEL * panel + s * step + c % PANEL]
    const Unit* at;
    long step, panel;
    Right(const void* at, long step, long panel)
        : at(static_cast<const Unit*>(at)), step(step), panel(panel) {}
};

// Its loops are unrolled before all else, or GCC would not see that the sums fit into registers.
#define UNROLLED _Pragma("GCC unroll 12")

template <class Num, long ROWS, long VECTORS>
void tile(Left left, const Unit* right, long right_step, long steps, float* out, long out_row) {
    Vector sums[ROWS][VECTORS];
    UNROLLED for (long i = 0; i < ROWS; ++i)
        UNROLLED for (long j = 0; j < VECTORS; ++j) sums[i][j] = Vector{};
    for (; steps > 0; --steps, left.at += left.step, right += right_step) {
        Vector factors[VECTORS];
        UNROLLED for (long j = 0; j < VECTORS; ++j) factors[j] = load(right + j * LANES);
        UNROLLED for (long i = 0; i < ROWS; ++i) {
            const Vector factor = everywhere(left.at[i * left.row]);
            UNROLLED for (long j = 0; j < VECTORS; ++j)
                sums[i][j] = Num::product(sums[i][j], factor, factors[j]);
        }
    }
    UNROLLED for (long i = 0; i < ROWS; ++i)
        UNROLLED for (long j = 0; j < VECTORS; ++j)
            store(out + i * out_row + j * LANES, sums[i][j]);
}

// As few as six sums of one vector each would wait for each other.
constexpr long most_rows(long vectors) { return vectors == 1 ? 2 * MOST_ROWS : MOST_ROWS; }

template <class Num, long VECTORS, long ROWS = most_rows(VECTORS)>
void tile_of_rows(long rows, Left left, const Unit* right, long right_step, long steps, float* out,
                  long out_row) {
    if constexpr (ROWS > 1)
        if (rows < ROWS)
            return tile_of_rows<Num, VECTORS, ROWS - 1>(rows, left, right, right_step, steps, out,
                                                        out_row);
    tile<Num, ROWS, VECTORS>(left, right, right_step, steps, out, out_row);
}

template <class Num, long VECTORS = MOST_VECTORS>
void tile_of(long rows, long vectors, Left left, const Unit* right, long right_step, long steps,
             float* out, long out_row) {
    if constexpr (VECTORS > 1)
        if (vectors < VECTORS)
            return tile_of<Num, VECTORS - 1>(rows, vectors, left, right, right_step, steps, out,
                                             out_row);
    tile_of_rows<Num, VECTORS>(rows, left, right, right_step, steps, out, out_row);
}

// left · right, a tile at a time: its first row and column go to `place`, which says where its
// vectors are written and how far its rows are apart, then its size to `use`.
template <class Num, class Place, class Use>
void tiles(Left left, long rows, Right right, long steps, long columns, Place place, Use use) {
    for (long column = 0; column < columns; column += PANEL, right.at += right.panel) {
        const long count = std::min(PANEL, columns - column);
        const long vectors = (count + LANES - 1) / LANES, most = most_rows(vectors);
        for (long row = 0, left_over = (rows + most - 1) / most; left_over > 0; --left_over) {
            const long size = (rows - row + left_over - 1) / left_over;  // all much alike
            const auto [out, out_row] = place(row, column);
            tile_of<Num>(size, vectors, {left.at + row * left.row, left.row, left.step}, right.at,
                         right.step, steps, out, out_row);
            use(row, size, column, count);
            row += size;
        }
    }
}

// Calls take(row, first column, its count of columns, sums) for each row of each panel of
// left · right; sums are PANEL wide, and what lies beyond the count means nothing.
template <class Num, class Take>
void multiply(Left left, long rows, Right right, long steps, long columns, Take take) {
    alignas(64) float out[2 * MOST_ROWS * PANEL];
    tiles<Num>(
        left, rows, right, steps, columns,
        [&](long, long) { return std::pair(out, PANEL); },
        [&](long row, long size, long column, long count) {
            for (long i = 0; i < size; ++i) take(row + i, column, count, out + i * PANEL);
        });
}

// For `multiply`: adds to rows that are so far apart.
auto added_to(float* to, long row) {
    return [to, row](long i, long column, long size, const float* sums) {
        float* const at = to + i * row + column;
        for (long c = 0; c < size; c += LANES)
            store(at + c, load(at + c, size - c) + load(sums + c), size - c);
    };
}

// left · right; whole vectors are written, so rows must be far enough apart for that.
template <class Num>
void multiply_into(float* to, long to_row, Left left, long rows, Right right, long steps,
                   long columns) {
    tiles<Num>(
        left, rows, right, steps, columns,
        [=](long row, long column) { return std::pair(to + row * to_row + column, to_row); },
        [](long, long, long, long) {});
}

// Rows of units as columns of a panel, and zeros up to whole vectors.
void transpose(const Unit* from, long row, long rows, long steps, Unit* panel) {
    for (long s = 0; s < steps; ++s, panel += PANEL) {
        for (long r = 0; r < rows; ++r) panel[r] = from[r * row + s];
        for (long r = rows; r < rounded_up(rows, LANES); ++r) panel[r] = 0;
    }
}

constexpr long panels_of(long columns, long steps) { return rounded_up(columns, PANEL) * steps; }

Right packed(const Unit* at, long steps) { return {at, PANEL, steps * PANEL}; }

// [columns, steps] as the right side of a product that sums over the steps.
void pack_transposed(const void* numbers, long row, long columns, long steps, Unit* to) {
    const Unit* from = static_cast<const Unit*>(numbers);
    for (long c = 0; c < columns; c += PANEL, to += steps * PANEL)
        transpose(from + c * row, row, std::min(PANEL, columns - c), steps, to);
}

// [rows, columns] as either side of a product that sums over the rows.
template <class Num>
void pack_rows(const typename Num::Number* from, long rows, long columns, Unit* to) {
    static const typename Num::Number nothing[PANEL] = {};
    for (long c = 0; c < columns; c += PANEL) {
        const long count = std::min(PANEL, columns - c);
        for (long r = 0; r < rows; r += Num::PER_UNIT, to += PANEL) {
            const auto* row = from + r * columns + c;
            std::fill(to + count, to + rounded_up(count, LANES), 0);
            Num::pair(row, r + 1 < rows ? row + columns : nothing, count, to);
        }
    }
}

// ---- Memory.

// Laid out from a start; from nothing, to see how much it takes.
struct Memory {
    char* at;
    template <class T>
    T* take(long count) {
        T* taken = reinterpret_cast<T*>(at);
        at += rounded_up(count * static_cast<long>(sizeof(T)), 64);
        return taken;
    }
};

template <class T>
struct Scratch {
    T* at;
    explicit Scratch(long count)
        : at(static_cast<T*>(std::aligned_alloc(64, rounded_up(count * sizeof(T), 64)))) {}
    Scratch(const Scratch&) = delete;
    ~Scratch() { std::free(at); }
    operator T*() const { return at; }
};

}  // namespace

extern "C" struct Shape {
    int64_t rows, tokens, hidden, heads, width;  // B, T, D, N, M of kernels.py
    int64_t queries;                             // first tokens of each row that move
    int64_t bf16, threads;
};

namespace {

template <class Work>
void in_its_numbers(const Shape& s, Work work) {
    if (s.bf16)
        work(Bf16{});
    else
        work(Fp32{});
}

long gate_up_columns(long width) { return 2 * rounded_up(width, PANEL / 2); }

long head_size(const Shape& s) { return s.hidden / s.heads; }
long padded_head(const Shape& s) { return rounded_up(head_size(s), LANES); }
long padded_tokens(const Shape& s) { return rounded_up(s.tokens, LANES); }
long qkv_row(const Shape& s) { return rounded_up(3 * s.hidden, LANES); }
long one_head(const Shape& s) { return s.tokens * padded_head(s); }
long all_heads(const Shape& s) { return s.heads * one_head(s); }

// The weights of a block, as right sides: `by` them in the forward pass, `back` in the other.
template <class Num>
struct Weights {
    Unit *by_q, *by_kv, *by_out, *by_gate_up, *by_down, *back_qkv, *back_out, *back_gate_up,
        *back_down;
    Weights(const Shape& s, Memory& memory) {
        const long D = s.hidden, M = s.width;
        by_q = memory.take<Unit>(panels_of(D, steps<Num>(D)));
        by_kv = memory.take<Unit>(panels_of(2 * D, steps<Num>(D)));
        by_out = memory.take<Unit>(panels_of(D, steps<Num>(D)));
        by_gate_up = memory.take<Unit>(gate_up_columns(M) * steps<Num>(D));
        by_down = memory.take<Unit>(panels_of(D, steps<Num>(M)));
        back_qkv = memory.take<Unit>(panels_of(D, steps<Num>(3 * D)));
        back_out = memory.take<Unit>(panels_of(D, steps<Num>(D)));
        back_gate_up = memory.take<Unit>(panels_of(D, steps<Num>(2 * M)));
        back_down = memory.take<Unit>(panels_of(M, steps<Num>(D)));
    }
};

// What the backward pass needs of the forward one.
template <class Num>
struct Kept {
    using Number = typename Num::Number;
    Number *x, *seen, *gate_up;
    float *q, *k, *v, *middle, *middle_inverse, *out_inverse;
    Kept(const Shape& s, Memory& memory) {
        const long R = s.rows * s.tokens;
        x = memory.take<Number>(R * s.hidden);
        seen = memory.take<Number>(R * s.hidden);
        gate_up = memory.take<Number>(R * gate_up_columns(s.width));
        q = memory.take<float>(s.rows * all_heads(s));
        k = memory.take<float>(s.rows * all_heads(s));
        v = memory.take<float>(s.rows * all_heads(s));
        middle = memory.take<float>(R * s.hidden);
        middle_inverse = memory.take<float>(R);
        out_inverse = memory.take<float>(R);
        width = gate_up_columns(s.width);
    }
    // Of row i of the chunk of `count` rows from `first`, gates from column m on, and half a panel
    // behind them what they let through; half panels of a chunk lie in the order they come in.
    Number* gates(long first, long count, long i, long m) const {
        constexpr long half = PANEL / 2;
        return gate_up + first * width + (m / half * count + i) * PANEL + m % half;
    }

  private:
    long width;
};

template <class Num>
void cast(const float* from, long count, typename Num::Number* to) {
    for (long i = 0; i < count; i += LANES)
        Num::write(to + i, load(from + i, count - i), count - i);
}

// x / rms(x) and 1 / rms, RMSNorm without a weight (arXiv:1910.07467).
float normalize(const float* x, long size, float* to) {
    Vector squares = {};
    for (long i = 0; i < size; i += LANES) {
        const Vector part = load(x + i, size - i);
        squares += part * part;
    }
    const float inverse = 1.0f / std::sqrt(sum(squares) / size + NORM_EPSILON);
    for (long i = 0; i < size; i += LANES) store(to + i, load(x + i, size - i) * inverse, size - i);
    return inverse;
}

void normalize_backward(const float* grad, const float* out, float inverse, long size, float* to) {
    Vector products = {};
    for (long i = 0; i < size; i += LANES)
        products += load(grad + i, size - i) * load(out + i, size - i);
    const float along = sum(products) / size;
    for (long i = 0; i < size; i += LANES) {
        const long count = size - i;
        store(to + i, (load(grad + i, count) - load(out + i, count) * along) * inverse, count);
    }
}

// A query or key turned by its place and scaled by K^-1/4 (`kernels.Frame.turns`); sign -1: back.
void turn(const float* __restrict from, const float* __restrict turns, float sign, long size,
          float* __restrict to) {
    if (turns == nullptr) {
        const float scale = 1.0f / std::sqrt(std::sqrt(static_cast<float>(size)));
        for (long i = 0; i < size; ++i) to[i] = from[i] * scale;
        return;
    }
    for (long i = 0; i < size; i += 2) {
        const float a = from[i], b = from[i + 1], cosine = turns[i], sine = sign * turns[i + 1];
        to[i] = a * cosine - b * sine;
        to[i + 1] = a * sine + b * cosine;
    }
}

const float* turns_of(const float* turns, const Shape& s, long token) {
    return turns == nullptr ? nullptr : turns + token * head_size(s);
}

// softmax(q · k) of some queries, [count, padded tokens].
void attention_weights(const Shape& s, const float* q, long count, const Unit* keys, float* to) {
    const long T = s.tokens, row = padded_tokens(s), K = head_size(s);
    multiply_into<Fp32>(to, row, {q, padded_head(s), 1}, count, packed(keys, K), K, T);
    Vector beyond = {};  // what is added to the last vector: nothing to the tokens there are
    for (long i = 0; i < LANES; ++i) beyond[i] = row - LANES + i < T ? 0.0f : -INFINITY;
    for (long i = 0; i < count; ++i, to += row) {
        store(to + row - LANES, load(to + row - LANES) + beyond);
        Vector most = load(to);
        for (long t = LANES; t < row; t += LANES) {
            const Vector part = load(to + t);
            most = part > most ? part : most;
        }
        const float highest = largest(most);
        Vector total = {};
        for (long t = 0; t < row; t += LANES) {
            Vector part = exponential(load(to + t) - highest);
            if (t + LANES > T) part = beyond == 0.0f ? part : Vector{};
            total += part;
            store(to + t, part);
        }
        const float share = 1.0f / sum(total);
        for (long t = 0; t < row; t += LANES) store(to + t, load(to + t) * share);
    }
}

// From the gradient of attention weights to that of q·k, in place.
void softmax_backward(const float* shares, long rows, long size, float* grads) {
    for (long i = 0; i < rows; ++i, shares += size, grads += size) {
        Vector products = {};
        for (long t = 0; t < size; t += LANES) products += load(shares + t) * load(grads + t);
        const float along = sum(products);
        for (long t = 0; t < size; t += LANES)
            store(grads + t, load(shares + t) * (load(grads + t) - along));
    }
}

// What the first tokens of a puzzle see: softmax(q·k) v of every head, [queries, D].
template <class Num>
void attend(const Shape& s, const float* q, const float* k, const float* v,
            typename Num::Number* seen) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s);
    Scratch<int32_t> keys(panels_of(T, K));
    Scratch<float> shares(QUERIES_AT_ONCE * padded_tokens(s));
    for (long head = 0; head < s.heads; ++head) {
        pack_transposed(k, row, T, K, keys);
        for (long first = 0; first < s.queries; first += QUERIES_AT_ONCE) {
            const long count = std::min<long>(QUERIES_AT_ONCE, s.queries - first);
            attention_weights(s, q + first * row, count, keys, shares);
            multiply<Fp32>({shares, padded_tokens(s), 1}, count, {v, row, PANEL}, T, K,
                           [&](long i, long column, long size, const float* sums) {
                               auto* to = seen + (first + i) * s.hidden + head * K + column;
                               for (long c = 0; c < size; c += LANES)
                                   Num::write(to + c, load(sums + c), size - c);
                           });
        }
        q += one_head(s), k += one_head(s), v += one_head(s);
    }
}

// The gradients of a puzzle's queries, keys and values, [T, 3 D], from that of what they saw.
template <class Num>
void attend_backward(const Shape& s, const float* q, const float* k, const float* v,
                     const float* grad_seen, const float* turns, typename Num::Number* grad_qkv) {
    const long T = s.tokens, K = head_size(s), row = padded_head(s), wide = padded_tokens(s);
    Scratch<int32_t> keys(panels_of(T, K)), values(panels_of(T, K));
    Scratch<float> shares(QUERIES_AT_ONCE * wide), grad_shares(QUERIES_AT_ONCE * wide);
    Scratch<float> grad(one_head(s));
    Scratch<float> grad_q(one_head(s)), grad_k(one_head(s)), grad_v(one_head(s));
    Scratch<float> turned(row);
    for (long head = 0; head < s.heads; ++head) {
        pack_transposed(k, row, T, K, keys);
        pack_transposed(v, row, T, K, values);
        std::fill(grad_q.at, grad_q.at + one_head(s), 0.0f);
        std::fill(grad_k.at, grad_k.at + one_head(s), 0.0f);
        std::fill(grad_v.at, grad_v.at + one_head(s), 0.0f);
        for (long t = 0; t < T; ++t)
            std::copy_n(grad_seen + t * rounded_up(s.hidden, LANES) + head * K, K, grad + t * row);
        for (long first = 0; first < T; first += QUERIES_AT_ONCE) {
            const long count = std::min<long>(QUERIES_AT_ONCE, T - first);
            const float* asked = grad + first * row;
            attention_weights(s, q + first * row, count, keys, shares);
            multiply_into<Fp32>(grad_shares, wide, {asked, row, 1}, count, packed(values, K), K, T);
            softmax_backward(shares, count, wide, grad_shares);
            multiply<Fp32>({grad_shares, wide, 1}, count, {k, row, PANEL}, T, K,
                           added_to(grad_q + first * row, row));
            multiply<Fp32>({grad_shares, 1, wide}, T, {q + first * row, row, PANEL}, count, K,
                           added_to(grad_k, row));
            multiply<Fp32>({shares, 1, wide}, T, {asked, row, PANEL}, count, K,
                           added_to(grad_v, row));
        }
        for (long t = 0; t < T; ++t) {
            auto* to = grad_qkv + t * 3 * s.hidden + head * K;
            turn(grad_q + t * row, turns_of(turns, s, t), -1, K, turned);
            cast<Num>(turned, K, to);
            turn(grad_k + t * row, turns_of(turns, s, t), -1, K, turned);
            cast<Num>(turned, K, to + s.hidden);
            cast<Num>(grad_v + t * row, K, to + 2 * s.hidden);
        }
        q += one_head(s), k += one_head(s), v += one_head(s);
    }
}

// Queries, keys and values of a puzzle by head, [N, T, padded K], turned.
void into_heads(const Shape& s, const float* qkv, const float* turns, float* q, float* k,
                float* v) {
    const long K = head_size(s);
    for (long head = 0; head < s.heads; ++head)
        for (long t = 0; t < s.tokens; ++t) {
            const float* from = qkv + t * qkv_row(s) + head * K;
            const long to = head * one_head(s) + t * padded_head(s);
            if (t < s.queries) turn(from, turns_of(turns, s, t), 1, K, q + to);
            turn(from + s.hidden, turns_of(turns, s, t), 1, K, k + to);
            std::copy_n(from + 2 * s.hidden, K, v + to);
        }
}

template <class Num>
void forward(const Shape& s, const float* x, const Weights<Num>& w, const float* turns, float* z,
             const Kept<Num>* kept) {
    using Number = typename Num::Number;
    const long T = s.tokens, D = s.hidden, M = s.width, moved = s.rows * s.queries;
    Scratch<Number> seen(kept ? 0 : moved * D);
    Number* const all_seen = kept ? kept->seen : seen.at;

#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (long b = 0; b < s.rows; ++b) {
        Scratch<Number> numbers(T * D);
        Scratch<float> qkv(T * qkv_row(s)), heads(kept ? 0 : 3 * all_heads(s));
        Number* const a = kept ? kept->x + b * T * D : numbers.at;
        float* const q = kept ? kept->q + b * all_heads(s) : heads.at;
        float* const k = kept ? kept->k + b * all_heads(s) : q + all_heads(s);
        float* const v = kept ? kept->v + b * all_heads(s) : k + all_heads(s);
        cast<Num>(x + b * T * D, T * D, a);
        const Left left{a, steps<Num>(D), 1};
        multiply_into<Num>(qkv, qkv_row(s), left, s.queries, packed(w.by_q, steps<Num>(D)),
                           steps<Num>(D), D);
        multiply_into<Num>(qkv + D, qkv_row(s), left, T, packed(w.by_kv, steps<Num>(D)),
                           steps<Num>(D), 2 * D);
        into_heads(s, qkv, turns, q, k, v);
        attend<Num>(s, q, k, v, all_seen + b * s.queries * D);
    }

#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (long first = 0; first < moved; first += ROWS_AT_ONCE) {
        const long count = std::min<long>(ROWS_AT_ONCE, moved - first);
        Scratch<float> total(count * D), middles(kept ? 0 : count * D);
        Scratch<Number> y(count * D), hidden(count * M);
        float* const middle = kept ? kept->middle + first * D : middles.at;
        const auto plus = [&](auto row_of) {
            return [&, row_of](long i, long column, long size, const float* sums) {
                const float* before = row_of(i) + column;
                for (long c = 0; c < size; c += LANES)
                    store(total + i * D + column + c, load(before + c, size - c) + load(sums + c),
                          size - c);
            };
        };
        multiply<Num>({all_seen + first * D, steps<Num>(D), 1}, count,
                      packed(w.by_out, steps<Num>(D)), steps<Num>(D), D, plus([&](long i) {
                          const long row = first + i;
                          return x + (row / s.queries * T + row % s.queries) * D;
                      }));
        for (long i = 0; i < count; ++i) {
            const float inverse = normalize(total + i * D, D, middle + i * D);
            if (kept) kept->middle_inverse[first + i] = inverse;
        }
        cast<Num>(middle, count * D, y);
        multiply<Num>({y, steps<Num>(D), 1}, count,
                      packed(w.by_gate_up, steps<Num>(D)), steps<Num>(D), gate_up_columns(M),
                      [&](long i, long column, long, const float* sums) {
                          const long m = column / 2, size = std::min<long>(PANEL / 2, M - m);
                          for (long c = 0; c < size; c += LANES) {
                              const Vector gate = load(sums + c), up = load(sums + PANEL / 2 + c);
                              const Vector passed = gate * sigmoid(gate) * up;
                              Num::write(hidden + i * M + m + c, passed, size - c);
                              if (!kept) continue;
                              Number* to = kept->gates(first, count, i, m + c);
                              Num::write(to, gate, LANES);
                              Num::write(to + PANEL / 2, up, LANES);
                          }
                      });
        multiply<Num>({hidden, steps<Num>(M), 1}, count,
                      packed(w.by_down, steps<Num>(M)), steps<Num>(M), D,
                      plus([&](long i) { return middle + i * D; }));
        for (long i = 0; i < count; ++i) {
            const float inverse = normalize(total + i * D, D, z + (first + i) * D);
            if (kept) kept->out_inverse[first + i] = inverse;
        }
    }
}

// Adds grads^T · inputs, [outputs, columns], to the gradient of a linear layer's weights.
template <class Num>
void add_weights_gradient(const typename Num::Number* grads, const typename Num::Number* inputs,
                          long rows, long outputs, long columns, long threads, float* to) {
    const long units_of = steps<Num>(rows);
    Scratch<int32_t> left(panels_of(outputs, units_of)), right(panels_of(columns, units_of));
    pack_rows<Num>(grads, rows, outputs, left);
    pack_rows<Num>(inputs, rows, columns, right);
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long first = 0; first < outputs; first += PANEL)
        multiply<Num>({left + first * units_of, 1, PANEL}, std::min<long>(PANEL, outputs - first),
                      packed(right, units_of), units_of, columns,
                      added_to(to + first * columns, columns));
}

struct Gradients {
    float *qkv, *out, *gate_up, *down;  // like the weights; what is found is added
};

template <class Num>
void backward(const Shape& s, const float* grad_z, const float* z, const Weights<Num>& w,
              const float* turns, const Kept<Num>& kept, float* grad_x, const Gradients& to) {
    using Number = typename Num::Number;
    const long T = s.tokens, D = s.hidden, M = s.width, R = s.rows * T;
    Scratch<Number> grad_down(R * D), hidden(R * M), grad_gate_up(R * 2 * M), y(R * D);
    Scratch<Number> grad_out(R * D), grad_qkv(R * 3 * D);
    const long seen_row = rounded_up(D, LANES);
    Scratch<float> grad_seen(R * seen_row);

#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (long first = 0; first < R; first += ROWS_AT_ONCE) {
        const long count = std::min<long>(ROWS_AT_ONCE, R - first);
        for (long r = first; r < first + count; ++r)
            normalize_backward(grad_z + r * D, z + r * D, kept.out_inverse[r], D, grad_x + r * D);
        cast<Num>(grad_x + first * D, count * D, grad_down + first * D);
        multiply<Num>({grad_down + first * D, steps<Num>(D), 1}, count,
                      packed(w.back_down, steps<Num>(D)), steps<Num>(D), M,
                      [&](long i, long column, long size, const float* sums) {
                          const long r = first + i;
                          for (long c = 0; c < size; c += LANES) {
                              const long m = column + c, left = size - c;
                              const Number* both = kept.gates(first, count, i, m);
                              const Vector gate = Num::read(both), share = sigmoid(gate);
                              const Vector up = Num::read(both + PANEL / 2), grad = load(sums + c);
                              const Vector silu = gate * share;
                              Number* const grads = grad_gate_up + r * 2 * M + m;
                              Num::write(grads, grad * up * (share + silu * (1.0f - share)), left);
                              Num::write(grads + M, grad * silu, left);
                              Num::write(hidden + r * M + m, silu * up, left);
                          }
                      });
        multiply<Num>({grad_gate_up + first * 2 * M, steps<Num>(2 * M), 1}, count,
                      packed(w.back_gate_up, steps<Num>(2 * M)), steps<Num>(2 * M), D,
                      added_to(grad_x + first * D, D));
        for (long r = first; r < first + count; ++r)
            normalize_backward(grad_x + r * D, kept.middle + r * D, kept.middle_inverse[r], D,
                               grad_x + r * D);
        cast<Num>(kept.middle + first * D, count * D, y + first * D);
        cast<Num>(grad_x + first * D, count * D, grad_out + first * D);
        multiply_into<Num>(grad_seen + first * seen_row, seen_row,
                           {grad_out + first * D, steps<Num>(D), 1}, count,
                           packed(w.back_out, steps<Num>(D)), steps<Num>(D), D);
    }

#pragma omp parallel for num_threads(s.threads) if (s.threads > 1)
    for (long b = 0; b < s.rows; ++b) {
        const long heads = b * all_heads(s), first = b * T;
        attend_backward<Num>(s, kept.q + heads, kept.k + heads, kept.v + heads,
                             grad_seen + first * seen_row, turns, grad_qkv + first * 3 * D);
        multiply<Num>({grad_qkv + first * 3 * D, steps<Num>(3 * D), 1}, T,
                      packed(w.back_qkv, steps<Num>(3 * D)), steps<Num>(3 * D), D,
                      added_to(grad_x + first * D, D));
    }

    add_weights_gradient<Num>(grad_down, hidden, R, D, M, s.threads, to.down);
    add_weights_gradient<Num>(grad_gate_up, y, R, 2 * M, D, s.threads, to.gate_up);
    add_weights_gradient<Num>(grad_out, kept.seen, R, D, D, s.threads, to.out);
    add_weights_gradient<Num>(grad_qkv, kept.x, R, 3 * D, D, s.threads, to.qkv);
}

template <class Num>
void pack(const Shape& s, const void* qkv, const void* out, const void* gate_up, const void* down,
          const Weights<Num>& to) {
    using Number = typename Num::Number;
    const long D = s.hidden, M = s.width, row = steps<Num>(D), half = PANEL / 2;
    const Unit* by_input = static_cast<const Unit*>(qkv);
    pack_transposed(by_input, row, D, row, to.by_q);
    pack_transposed(by_input + D * row, row, 2 * D, row, to.by_kv);
    pack_transposed(static_cast<const Unit*>(out), row, D, row, to.by_out);
    pack_transposed(static_cast<const Unit*>(down), steps<Num>(M), D, steps<Num>(M), to.by_down);
    const Unit* gates = static_cast<const Unit*>(gate_up);  // a gate and its up in one panel
    for (long m = 0; m < M; m += half) {
        Unit* panel = to.by_gate_up + 2 * m * row;
        const long count = std::min(half, M - m);
        transpose(gates + m * row, row, count, row, panel);
        transpose(gates + (M + m) * row, row, count, row, panel + half);
    }
    pack_rows<Num>(static_cast<const Number*>(qkv), 3 * D, D, to.back_qkv);
    pack_rows<Num>(static_cast<const Number*>(out), D, D, to.back_out);
    pack_rows<Num>(static_cast<const Number*>(gate_up), 2 * M, D, to.back_gate_up);
    pack_rows<Num>(static_cast<const Number*>(down), D, M, to.back_down);
}

template <template <class> class Layout>
int64_t bytes_of(const Shape& s) {
    Memory memory{nullptr};
    in_its_numbers(s, [&](auto num) { Layout<decltype(num)>(s, memory); });
    return reinterpret_cast<intptr_t>(memory.at);
}

}  // namespace

// ---- What native.py calls. Pointers are to contiguous tensors; states are fp32 [B · T, D].

extern "C" {

int64_t bytes_of_weights(const Shape* s) { return bytes_of<Weights>(*s); }

int64_t bytes_kept(const Shape* s) { return bytes_of<Kept>(*s); }

// Weights [outputs, inputs] in the numbers of products, into `weights`.
void pack_weights(const Shape* s, const void* qkv, const void* out, const void* gate_up,
                  const void* down, char* weights) {
    in_its_numbers(*s, [&](auto num) {
        Memory memory{weights};
        pack(*s, qkv, out, gate_up, down, Weights<decltype(num)>(*s, memory));
    });
}

// `kept` may be null: then there is no backward pass, and only `queries` tokens of a row move.
void block_forward(const Shape* s, const float* x, char* weights, const float* turns, float* z,
                   char* kept) {
    in_its_numbers(*s, [&](auto num) {
        using Num = decltype(num);
        Memory first{weights}, second{kept};
        const Weights<Num> w(*s, first);
        const Kept<Num> all(*s, second);
        forward<Num>(*s, x, w, turns, z, kept ? &all : nullptr);
    });
}

void block_backward(const Shape* s, const float* grad_z, const float* z, char* weights,
                    const float* turns, char* kept, float* grad_x, float* grad_qkv,
                    float* grad_out, float* grad_gate_up, float* grad_down) {
    in_its_numbers(*s, [&](auto num) {
        using Num = decltype(num);
        Memory first{weights}, second{kept};
        const Weights<Num> w(*s, first);
        const Kept<Num> all(*s, second);
        backward<Num>(*s, grad_z, z, w, turns, all, grad_x,
                      {grad_qkv, grad_out, grad_gate_up, grad_down});
    });
}

}  // extern "C"
