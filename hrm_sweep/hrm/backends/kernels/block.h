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
// tile of sums is in the L1 cache, and a block is one call each way. PyTorch's fp32 products leave
// AVX-512 unused on AMD. tests/benchmarks/step.md has the figures.
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
// MEMORY. The caller allocates weights, states, gradients and what the backward pass needs
// (`Saved`). Weights are packed after every optimizer step, once for each direction: twice their
// size in memory, and two hundredths of a step. Gates and ups are saved as the product leaves them,
// half panels of one row block after the other; attention weights are not saved but computed
// again. Heads are padded to whole vectors. Where a vector would cross the end of an array, a
// partial load or store does not.
//
// THREADS divide sequences for attention, row blocks for the rest and rows of the gradient for
// the weights. Each number is summed by one thread in one order: how many threads there are
// changes no bit.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "attention.h"
#include "memory.h"
#include "products.h"
#include "shape.h"

namespace {

constexpr long ROW_BLOCK = 100;  // most rows whose intermediates stay in the cache

// Rows of a block: all threads get as many blocks, of nearly equal height.
inline long row_block(long rows, long threads) {
    const long fewest = std::max(1L, (rows + ROW_BLOCK - 1) / ROW_BLOCK);
    const long blocks = round_up(fewest, threads);
    return std::max(1L, (rows + blocks - 1) / blocks);
}
constexpr float NORM_EPSILON = 1e-5f;  // as in eager.py

// Columns of the packed gate_up: panels of NR / 2 gates followed by their NR / 2 ups.
inline long gate_up_columns(long width) { return 2 * round_up(width, NR / 2); }

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
    // Gates from column m on, a multiple of NR / 2, of row i in the block of `count` rows that begins
    // at `first`; their ups are NR / 2 behind. A row block's panels are in the order in which gemm
    // computes them.
    Value* gates(long first, long count, long i, long m) const {
        return gate_up + first * columns + (m / (NR / 2) * count + i) * NR;
    }
    // Where the gates `c` columns further on are.
    static constexpr long column(long count, long c) {
        return c / (NR / 2) * count * NR + c % (NR / 2);
    }

  private:
    long columns;
};

template <class Num>
struct Saved : SavedSwiGLU<Num> {
    using Value = typename Num::Value;
    Value *x, *attn_out, *q, *k, *v;
    float *h, *h_inverse;
    Saved(const Shape& s, Arena& arena) : SavedSwiGLU<Num>(s, arena) {
        const long R = s.batch * s.tokens;
        x = arena.take<Value>(R * s.hidden);
        attn_out = arena.take<Value>(R * s.hidden);
        q = arena.take<Value>(s.batch * all_heads(s));
        k = arena.take<Value>(s.batch * all_heads(s));
        v = arena.take<Value>(s.batch * all_heads(s));
        h = arena.take<float>(R * s.hidden);
        h_inverse = arena.take<float>(R);
    }
};

// ---- RMSNorm.

// Writes x / rms(x) and returns 1 / rms(x).
inline float normalize(const float* x, long size, float* to) {
    Vector squares = {};
    for (long i = 0; i < size; i += LANES) {
        const Vector part = load(x + i, size - i);
        squares += part * part;
    }
    const float inverse = 1.0f / std::sqrt(reduce_sum(squares) / size + NORM_EPSILON);
    for (long i = 0; i < size; i += LANES) store(to + i, load(x + i, size - i) * inverse, size - i);
    return inverse;
}

inline void normalize_backward(const float* grad, const float* out, float inverse, long size, float* to) {
    Vector products = {};
    for (long i = 0; i < size; i += LANES)
        products += load(grad + i, size - i) * load(out + i, size - i);
    const float mean = reduce_sum(products) / size;
    for (long i = 0; i < size; i += LANES) {
        const long count = size - i;
        store(to + i, (load(grad + i, count) - load(out + i, count) * mean) * inverse, count);
    }
}

// ---- Forward pass.

// attn_out of sequence b.
template <class Num>
void forward_attention(const Shape& s, long b, const float* x, const Weights<Num>& w,
                       const Rotation& rotation, const Saved<Num>* saved,
                       typename Num::Value* attn_out) {
    using Value = typename Num::Value;
    const long T = s.tokens, D = s.hidden;
    Scratch<Value> cast_x(saved ? 0 : T * D), heads(saved ? 0 : 3 * all_heads(s));
    Scratch<float> qkv(T * qkv_row(s));
    Value* const a = saved ? saved->x + b * T * D : cast_x.at;
    Value* const q = saved ? saved->q + b * all_heads(s) : heads.at;
    Value* const k = saved ? saved->k + b * all_heads(s) : q + all_heads(s);
    Value* const v = saved ? saved->v + b * all_heads(s) : k + all_heads(s);
    cast<Num>(x + b * T * D, T * D, a);
    gemm_into<Num>(qkv, qkv_row(s), {a, units<Num>(D), 1}, s.queries,
                   packed_b(w.q, units<Num>(D)), units<Num>(D), D);
    gemm_into<Num>(qkv + D, qkv_row(s), {a, units<Num>(D), 1}, T, packed_b(w.kv, units<Num>(D)),
                   units<Num>(D), 2 * D);
    split_heads<Num>(s, qkv, rotation, q, k, v);
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
                  auto* const to = act + i * M + m;
                  auto* const kept = saved ? saved->gates(first, count, i, m) : nullptr;
                  for (long c = 0; c < size; c += LANES) {
                      const Vector gate = load(sums + c), up = load(sums + NR / 2 + c);
                      Num::write(to + c, gate * sigmoid(gate) * up, size - c);
                      if (!kept) continue;
                      Num::write(kept + c, gate, LANES);
                      Num::write(kept + NR / 2 + c, up, LANES);
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
    const Rotation rotation(s, rope_table);
    parallel_for(s.batch, 1, s.threads, [&](long b) {
        forward_attention<Num>(s, b, x, w, rotation, saved, attn_out);
    });
    const long block = row_block(rows, s.threads);
    parallel_for(rows, block, s.threads, [&](long first) {
        forward_mlp<Num>(s, first, std::min(block, rows - first), x, attn_out, w, z, saved);
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
                  const auto* const gates = saved.gates(first, count, i, column);
                  auto* const gate_grads = t.grad_gate_up + (first + i) * 2 * M + column;
                  auto* const act = t.act + (first + i) * M + column;
                  for (long c = 0; c < size; c += LANES) {
                      const auto* const at = gates + SavedSwiGLU<Num>::column(count, c);
                      const Vector gate = Num::read(at), sig = sigmoid(gate);
                      const Vector up = Num::read(at + NR / 2), grad = load(sums + c);
                      const Vector silu = gate * sig;
                      Num::write(gate_grads + c, grad * up * (sig + silu * (1.0f - sig)), size - c);
                      Num::write(gate_grads + M + c, grad * silu, size - c);
                      Num::write(act + c, silu * up, size - c);
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
void backward_attention(const Shape& s, long b, const Weights<Num>& w, const Rotation& rotation,
                        const Saved<Num>& saved, const BackwardScratch<Num>& t, float* grad_x) {
    const long T = s.tokens, D = s.hidden, heads = b * all_heads(s), first = b * T;
    attend_backward<Num>(s, saved.q + heads, saved.k + heads, saved.v + heads,
                         t.grad_attn_out + first * padded_hidden(s), rotation,
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
    const long block = row_block(R, s.threads);
    parallel_for(R, block, s.threads, [&](long first) {
        backward_mlp<Num>(s, first, std::min(block, R - first), grad_z, z, w, saved, t, grad_x);
    });
    const Rotation rotation(s, rope_table);
    parallel_for(s.batch, 1, s.threads, [&](long b) {
        backward_attention<Num>(s, b, w, rotation, saved, t, grad_x);
    });
    add_swiglu_gradients<Num>(s, t, to.gate_up, to.down);
    add_weight_gradient<Num>(t.grad_out, saved.attn_out, R, D, D, s.threads, to.out);
    add_weight_gradient<Num>(t.grad_qkv, saved.x, R, 3 * D, D, s.threads, to.qkv);
}

// The second half of a block by itself, on s.batch rows.
template <class Num>
void second_half(const Shape& s, const float* x, const SwiGLUWeights<Num>& w, float* z,
                 const SavedSwiGLU<Num>* saved) {
    const long block = row_block(s.batch, s.threads);
    parallel_for(s.batch, block, s.threads, [&](long first) {
        const long at = first * s.hidden, count = std::min(block, s.batch - first);
        forward_second_half<Num>(s, first, count, x + at, w, z + at, saved);
    });
}

template <class Num>
void second_half_backward(const Shape& s, const float* grad_z, const float* z, const float* x,
                          const SwiGLUWeights<Num>& w, const SavedSwiGLU<Num>& saved, float* grad_x,
                          float* grad_gate_up, float* grad_down) {
    const SwiGLUScratch<Num> t(s);
    const long block = row_block(s.batch, s.threads);
    parallel_for(s.batch, block, s.threads, [&](long first) {
        const long count = std::min(block, s.batch - first);
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

}  // namespace
