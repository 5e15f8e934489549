// What a training reads from the states of an answer: logits, their loss and how many are right,
// and the halting head's values and losses. losses.py has the same mathematics in PyTorch's
// operators. In fp32: the heads are small.
//
//     logits = W h                                   of the S tokens of a puzzle, behind its prefix
//     softmax     s(x) = exp(x - max x)              stablemax   s(x) = x + 1, or 1 / (1 - x) below 0
//     lm          mean of log(sum s) - log(s_label) over the tokens with a label
//     q           = W_q h + b of the first position: of halting and of continuing
//     q_halt      = bce(q[0], whether all labels are predicted),   q_continue = bce(q[1], target)
//
// A row without labels has no lm; what its halting costs is kept apart (losses.Losses.padding).
// The forward pass keeps the gradient of lm by the logits, and of both halting losses by q.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "memory.h"
#include "products.h"

// Sizes of a call: as in kernel_library.py, which compares `readout_layout`.
#define READOUT_FIELDS(FIELD)                                                  \
    FIELD(batch)     /* B */                                                   \
    FIELD(tokens)    /* T */                                                   \
    FIELD(prefix)    /* first positions, which have no label: S = T - prefix */ \
    FIELD(hidden)    /* D */                                                   \
    FIELD(vocabulary) /* V */                                                  \
    FIELD(stablemax) /* 0: softmax */                                          \
    FIELD(threads)

extern "C" struct ReadoutShape {
#define DECLARE(name) int64_t name;
    READOUT_FIELDS(DECLARE)
#undef DECLARE
};

namespace {

constexpr int64_t NO_LABEL = -100;  // tokens.IGNORE

struct ReadoutWeights {
    const float *head, *q, *q_bias;  // [V, D], [2, D], [2]; q null: no halting head
};

// Each [B]: losses as in losses.Losses, and counts; in the order in which losses.py takes them.
struct ReadoutRows {
    float *total, *padding, *lm, *q_halt, *q_continue, *tokens, *correct;
    ReadoutRows(float* at, long rows)
        : total(at), padding(at + rows), lm(at + 2 * rows), q_halt(at + 3 * rows),
          q_continue(at + 4 * rows), tokens(at + 5 * rows), correct(at + 6 * rows) {}
};

inline long label_tokens(const ReadoutShape& s) { return s.tokens - s.prefix; }
inline long padded_vocabulary(const ReadoutShape& s) { return round_up(s.vocabulary, LANES); }

// The gradients that the forward pass keeps: of lm by the logits, and of the halting losses by q.
struct SavedReadout {
    float *logits, *q;  // [B, S, padded V], [B, 2]
    SavedReadout(const ReadoutShape& s, Arena& arena)
        : logits(arena.take<float>(s.batch * label_tokens(s) * padded_vocabulary(s))),
          q(arena.take<float>(s.batch * 2)) {}
};

inline float dot(const float* a, const float* b, long size) {
    Vector products = {};
    for (long i = 0; i < size; i += LANES) products += load(a + i, size - i) * load(b + i, size - i);
    return reduce_sum(products);
}

// Replaces logits, padded to whole vectors, by the gradient of the label's loss, and returns that.
inline float token_loss(float* x, long size, long label, bool stablemax) {
    const Vector one = Vector{} + 1.0f, zero = {};
    const float maximum = stablemax ? 0.0f : *std::max_element(x, x + size), own = x[label];
    Vector totals = {};
    for (long v = 0; v < size; v += LANES) {
        const Vector logits = load(x + v);
        Vector weights = exponential(logits - maximum), slopes = weights;  // s and ds/dx
        if (stablemax) {
            weights = logits < zero ? one / (one - logits) : one + logits;
            slopes = logits < zero ? weights * weights : one;
        }
        store(x + v, weights);
        totals += load(x + v, size - v);
        store(x + v, slopes);
    }
    const float total = reduce_sum(totals), slope = x[label];
    float chosen = slope;
    if (stablemax) chosen = own < 0 ? 1 / (1 - own) : 1 + own;
    for (long v = 0; v < size; v += LANES) store(x + v, load(x + v) / total);
    x[label] -= slope / chosen;
    return std::log(total) - std::log(chosen);
}

// Binary cross entropy of a logit; its gradient is logistic(x) - target.
inline float bce(float x, float target) {
    return std::max(x, 0.0f) - x * target + std::log1p(std::exp(-std::fabs(x)));
}

inline float logistic(float x) { return 1.0f / (1.0f + std::exp(-x)); }

// The losses of all labels of row b, and how many there are and are predicted.
inline void read_tokens(const ReadoutShape& s, long b, const float* states, const Unit* head,
                        const int64_t* labels, const SavedReadout& saved, const ReadoutRows& rows) {
    const long S = label_tokens(s), V = s.vocabulary, row = padded_vocabulary(s);
    float* const all = saved.logits + b * S * row;
    gemm_into<Fp32>(all, row, {states + s.prefix * s.hidden, s.hidden, 1}, S,
                    packed_b(head, s.hidden), s.hidden, V);
    long tokens = 0, correct = 0;
    double loss = 0;
    for (long t = 0; t < S; ++t) {
        float* const logits = all + t * row;
        const int64_t label = labels[b * S + t];
        if (label == NO_LABEL) {
            std::fill_n(logits, row, 0.0f);
            continue;
        }
        ++tokens;
        if (label < 0 || label >= V) {  // no such token: a loss of no training
            loss = NAN;
            continue;
        }
        correct += std::max_element(logits, logits + V) - logits == label;
        loss += token_loss(logits, V, label, s.stablemax);
    }
    const float share = 1.0f / std::max(tokens, 1L);
    for (long i = 0; i < S * row; i += LANES) store(all + i, load(all + i) * share);
    rows.lm[b] = static_cast<float>(loss) * share;
    rows.tokens[b] = tokens, rows.correct[b] = correct;
}

// What row b is trained on, after read_tokens.
inline void read_halting(const ReadoutShape& s, long b, const float* first_state,
                         const ReadoutWeights& w, const float* target, const SavedReadout& saved,
                         const ReadoutRows& rows) {
    float halt = 0, go_on = 0, *const q = saved.q + 2 * b;
    q[0] = q[1] = 0;
    if (w.q) {
        const float solved = rows.correct[b] == rows.tokens[b];
        const float halt_logit = dot(w.q, first_state, s.hidden) + w.q_bias[0];
        halt = bce(halt_logit, solved), q[0] = logistic(halt_logit) - solved;
    }
    if (w.q && target) {
        const float logit = dot(w.q + s.hidden, first_state, s.hidden) + w.q_bias[1];
        go_on = bce(logit, target[b]), q[1] = logistic(logit) - target[b];
    }
    const float has_labels = rows.tokens[b] > 0, halting = 0.5f * (halt + go_on);
    rows.total[b] = rows.lm[b] + has_labels * halting;
    rows.padding[b] = (1 - has_labels) * halting;
    rows.q_halt[b] = has_labels * halt, rows.q_continue[b] = has_labels * go_on;
}

inline void read_out(const ReadoutShape& s, const float* answer, const ReadoutWeights& w,
                     const int64_t* labels, const float* target, const SavedReadout& saved,
                     const ReadoutRows& rows) {
    const Scratch<int32_t> head(packed_units(s.vocabulary, s.hidden));
    pack_transposed(w.head, s.hidden, s.vocabulary, s.hidden, head);
    parallel_for(s.batch, 1, s.threads, [&](long b) {
        const float* const states = answer + b * s.tokens * s.hidden;
        read_tokens(s, b, states, head, labels, saved, rows);
        read_halting(s, b, states, w, target, saved, rows);
    });
}

struct ReadoutGradients {
    float *head, *q, *q_bias;  // shaped like the weights; added to; null: not wanted
};

// Gradients of all positions of row b: those of its logits scaled by `grad`, of q by `grad_q`.
inline void read_out_row_backward(const ReadoutShape& s, long b, const ReadoutWeights& w,
                                  const Unit* head, const SavedReadout& saved, float grad,
                                  float grad_q, float* logits, float* to) {
    const long S = label_tokens(s), D = s.hidden, row = padded_vocabulary(s);
    for (long i = 0; i < S * row; i += LANES)
        store(logits + i, load(saved.logits + b * S * row + i) * grad);
    std::fill_n(to, s.prefix * D, 0.0f);
    float* const behind = to + s.prefix * D;
    gemm<Fp32>({logits, row, 1}, S, packed_b(head, s.vocabulary), s.vocabulary, D,
               [=](long i, long column, long size, const float* sums) {
                   for (long c = 0; c < size; c += LANES)
                       store(behind + i * D + column + c, load(sums + c), size - c);
               });
    if (!w.q) return;
    const float halt = grad_q * saved.q[2 * b], go_on = grad_q * saved.q[2 * b + 1];
    for (long d = 0; d < D; ++d) to[d] += halt * w.q[d] + go_on * w.q[D + d];
}

// Writes the gradient of the answer, and adds to those of the weights; `tokens` as in ReadoutRows,
// grad_total or grad_padding may be null.
inline void read_out_backward(const ReadoutShape& s, const float* answer, const ReadoutWeights& w,
                              const float* tokens, const float* grad_total,
                              const float* grad_padding, const SavedReadout& saved,
                              float* grad_answer, const ReadoutGradients& to) {
    const long S = label_tokens(s), D = s.hidden, V = s.vocabulary, row = padded_vocabulary(s);
    const auto of_row = [](const float* grads, long b) { return grads ? grads[b] : 0.0f; };
    const auto of_q = [&](long b) { return 0.5f * of_row(tokens[b] > 0 ? grad_total : grad_padding, b); };
    const Scratch<int32_t> head(packed_units(D, V)), states(packed_units(D, S));
    const Scratch<float> logits(s.batch * S * row);
    pack_rows<Fp32>(w.head, V, D, head);
    parallel_for(s.batch, 1, s.threads, [&](long b) {
        read_out_row_backward(s, b, w, head, saved, of_row(grad_total, b), of_q(b),
                              logits + b * S * row, grad_answer + b * s.tokens * D);
    });
    for (long b = 0; b < s.batch; ++b) {
        const float* const first = answer + b * s.tokens * D;
        if (to.head) {
            pack_rows<Fp32>(first + s.prefix * D, S, D, states);
            gemm<Fp32>({logits + b * S * row, 1, row}, V, packed_b(states, S), S, D,
                       accumulate_into(to.head, D));
        }
        for (long which = 0; w.q && which < 2; ++which) {
            const float grad = of_q(b) * saved.q[2 * b + which];
            if (to.q)
                for (long d = 0; d < D; ++d) to.q[which * D + d] += grad * first[d];
            if (to.q_bias) to.q_bias[which] += grad;
        }
    }
}

}  // namespace
