// The library that native.py and native_swiglu.py call, compiled for the CPU at hand. Pointers are to
// contiguous tensors on the CPU, whose shapes and types are checked there; states are fp32 [B · T, D].
//
// ERRORS. What fails here is an allocation: no exception leaves an OpenMP region or the library, and
// the caller gets a status.

#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "adam.h"
#include "block.h"
#include "embedding.h"
#include "readout.h"
#include "recursion.h"

extern "C" {

// Each field's name, offset and size and the size of the whole, as kernel_library.py writes them.
#define LAYOUT_OF(Struct, FIELDS)                                                           \
    static char text[512];                                                                  \
    int used = 0;                                                                           \
    FIELDS(DESCRIBE)                                                                        \
    std::snprintf(text + used, sizeof text - used, "%zu", sizeof(Struct));                  \
    return text;

const char* shape_layout() {
#define DESCRIBE(name)                                                                      \
    used += std::snprintf(text + used, sizeof text - used, #name " %zu %zu, ",              \
                          offsetof(Shape, name), sizeof(Shape::name));
    LAYOUT_OF(Shape, SHAPE_FIELDS)
#undef DESCRIBE
}

const char* readout_layout() {
#define DESCRIBE(name)                                                                      \
    used += std::snprintf(text + used, sizeof text - used, #name " %zu %zu, ",              \
                          offsetof(ReadoutShape, name), sizeof(ReadoutShape::name));
    LAYOUT_OF(ReadoutShape, READOUT_FIELDS)
#undef DESCRIBE
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

// Replaces both states by those after `cycles` whole cycles and `last` updates of the low one.
int recursion_forward(const Shape* s, const float* rope_table, void* const* low, int64_t low_blocks,
                      void* const* high, int64_t high_blocks, int64_t cycles, int64_t low_updates,
                      int64_t last, const float* x, float* z_high, float* z_low) {
    return guarded(*s, [&](auto num) {
        const Recursion<decltype(num)> run(*s, rope_table, {low, low_blocks}, {high, high_blocks});
        for (long i = 0; i < cycles; ++i) run.cycle(low_updates, x, z_high, z_low);
        run.update_low(last, x, z_high, z_low);
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

// Writes the input states; puzzles is null without a prefix, positions unless they are learned.
int embedding_forward(const int64_t* ids, const float* table, const float* puzzles,
                      const float* positions, float* to, int64_t batch, int64_t tokens,
                      int64_t prefix, int64_t hidden, int64_t vocabulary, int64_t puzzle,
                      int64_t threads, double scale) {
    return guarded([&] {
        embed({batch, tokens, prefix, hidden, vocabulary, puzzle, threads}, ids, table, puzzles,
              positions, scale, to);
    });
}

// Writes grad_puzzles, and adds to the other gradients that are not null.
int embedding_backward(const int64_t* ids, const float* grad, float* grad_table,
                       float* grad_puzzles, float* grad_positions, int64_t batch, int64_t tokens,
                       int64_t prefix, int64_t hidden, int64_t vocabulary, int64_t puzzle,
                       int64_t threads, int64_t has_positions, double scale) {
    return guarded([&] {
        embed_backward({batch, tokens, prefix, hidden, vocabulary, puzzle, threads}, ids, grad,
                       has_positions, scale, grad_table, grad_puzzles, grad_positions);
    });
}

int64_t bytes_saved_by_readout(const ReadoutShape* s) {
    Arena arena(nullptr);
    SavedReadout(*s, arena);
    return arena.bytes();
}

// Writes seven rows of B numbers, see ReadoutRows; q and its bias, and target, may be null.
int readout_forward(const ReadoutShape* s, const float* answer, const float* head, const float* q,
                    const float* q_bias, const int64_t* labels, const float* target, void* saved,
                    float* rows) {
    return guarded([&] {
        Arena arena(saved);
        read_out(*s, answer, {head, q, q_bias}, labels, target, SavedReadout(*s, arena),
                 ReadoutRows(rows, s->batch));
    });
}

// Writes grad_answer, and adds to the gradients of the weights that are not null.
int readout_backward(const ReadoutShape* s, const float* answer, const float* head, const float* q,
                     const float* q_bias, const float* grad_total, const float* grad_padding,
                     void* saved, float* rows, float* grad_answer, float* grad_head, float* grad_q,
                     float* grad_q_bias) {
    return guarded([&] {
        Arena arena(saved);
        read_out_backward(*s, answer, {head, q, q_bias}, ReadoutRows(rows, s->batch).tokens,
                          grad_total, grad_padding, SavedReadout(*s, arena), grad_answer,
                          {grad_head, grad_q, grad_q_bias});
    });
}

// Writes the L2 norm of a vector of `count` numbers.
int vector_norm(const float* vector, int64_t count, int64_t threads, double* to) {
    return guarded([&] { *to = norm(vector, count, threads); });
}

// Updates the parameters, both moments and the bf16 copies of the first `copied` parameters; the
// gradient becomes zero.
int adam_update(float* parameters, float* gradient, float* mean, float* square, uint16_t* copies,
                int64_t count, int64_t copied, int64_t threads, int64_t is_atan2, double lr,
                double scale, double beta1, double beta2, double bias1, double bias2,
                double weight_decay, double epsilon) {
    return guarded([&] {
        update({parameters, gradient, mean, square, copies, count, copied},
               {lr, scale, beta1, beta2, bias1, bias2, weight_decay, epsilon}, is_atan2, threads);
    });
}

}  // extern "C"
