// Runs a block forward and backward once, and what else the library has, on inputs that depend on the
// arguments alone, and writes the block's results to standard output as fp32. KERNELS is the path of
// kernels.cpp. Every array has a heap allocation of its own size, so that a sanitizer sees an access
// beyond it.
//
// Usage: block_driver batch tokens hidden heads width bf16 threads rotary

#include KERNELS

#include <cstdio>
#include <vector>

static uint32_t state = 1;

static std::vector<float> random_floats(long count) {  // in [-0.5, 0.5), coarse enough for bf16
    std::vector<float> made(count);
    for (float& number : made) {
        state = state * 1664525u + 1013904223u;
        number = (state >> 24) / 256.0f - 0.5f;
    }
    return made;
}

// The numbers as fp32 or, exactly, as bf16: the upper half of little-endian fp32.
static std::vector<char> as_values(const std::vector<float>& numbers, bool bf16) {
    const long size = bf16 ? 2 : 4;
    std::vector<char> made(size * numbers.size());
    for (size_t i = 0; i < numbers.size(); ++i)
        std::memcpy(&made[size * i], reinterpret_cast<const char*>(&numbers[i]) + 4 - size, size);
    return made;
}

static void write(const std::vector<float>& numbers) {
    std::fwrite(numbers.data(), sizeof(float), numbers.size(), stdout);
}

static void check(int status, int expected) {
    if (status == expected) return;
    std::fprintf(stderr, "status %d instead of %d\n", status, expected);
    std::exit(3);
}

// Results of one block.
struct Results {
    std::vector<float> z, z_without_saving, z_of_first_tokens, grad_x, grads[4];
};

static Results run(const Shape& s, bool rotary) {
    const long D = s.hidden, M = s.width, R = s.batch * s.tokens;
    const long sizes[] = {3 * D * D, D * D, 2 * M * D, M * D};
    std::vector<char> w[4];
    for (int i = 0; i < 4; ++i) w[i] = as_values(random_floats(sizes[i]), s.bf16);
    const auto x = random_floats(R * D), grad_z = random_floats(R * D);
    const auto table = random_floats(s.tokens * (D / s.heads));
    const float* const rope = rotary ? table.data() : nullptr;
    Results r = {std::vector<float>(R * D), std::vector<float>(R * D),
                 std::vector<float>(s.batch * D), std::vector<float>(R * D), {}};
    float* grads[4];
    for (int i = 0; i < 4; ++i) grads[i] = (r.grads[i] = std::vector<float>(sizes[i])).data();

    std::vector<char> packed(bytes_of_weights(&s)), saved(bytes_saved(&s));
    char *const weights = packed.data(), *const kept = saved.data();
    check(pack_weights(&s, w[0].data(), w[1].data(), w[2].data(), w[3].data(), weights), OK);
    check(block_forward(&s, x.data(), weights, rope, r.z.data(), kept), OK);
    check(block_forward(&s, x.data(), weights, rope, r.z_without_saving.data(), nullptr), OK);
    float* nowhere[4] = {};
    for (float** to : {grads, nowhere})
        check(block_backward(&s, grad_z.data(), r.z.data(), weights, rope, kept, r.grad_x.data(),
                             to[0], to[1], to[2], to[3]),
              OK);
    Shape first = s;
    first.queries = 1;
    check(block_forward(&first, x.data(), weights, rope, r.z_of_first_tokens.data(), nullptr), OK);
    std::vector<float> high = x, low = grad_z;
    void* const levels[] = {weights, weights};
    check(recursion_forward(&s, rope, levels, 2, levels, 1, 1, 2, 1, x.data(), high.data(),
                            low.data()),
          OK);
    first.tokens = 1L << 44;  // more memory than there is, asked for within the threads
    check(block_forward(&first, nullptr, weights, rope, nullptr, nullptr), OUT_OF_MEMORY);
    return r;
}

// Runs the second half of a block by itself, on columns of `tokens` numbers, odd ones too.
static void run_swiglu(const Shape& block) {
    const long T = block.tokens, M = block.width, row = block.bf16 ? (T + 1) / 2 * 2 : T;
    const Shape s = {block.batch * block.hidden, 1, T, 1, M, 1, block.bf16, block.threads};
    const auto gate_up = as_values(random_floats(2 * M * row), s.bf16);
    const auto down = as_values(random_floats(T * M), s.bf16);
    const auto x = random_floats(s.batch * T), grad_z = random_floats(s.batch * T);
    std::vector<float> z(s.batch * T), grad_x(s.batch * T), grad_gate_up(2 * M * T), grad_down(T * M);
    std::vector<char> packed(bytes_of_swiglu_weights(&s)), saved(bytes_saved_by_swiglu(&s));
    check(pack_swiglu(&s, gate_up.data(), down.data(), packed.data()), OK);
    check(swiglu_forward(&s, x.data(), packed.data(), z.data(), nullptr), OK);
    check(swiglu_forward(&s, x.data(), packed.data(), z.data(), saved.data()), OK);
    check(swiglu_backward(&s, grad_z.data(), z.data(), x.data(), packed.data(), saved.data(),
                          grad_x.data(), grad_gate_up.data(), grad_down.data()),
          OK);
}

// Reads losses from states of the block's size, in a vocabulary of as many tokens as a row has.
static void run_readout(const Shape& block) {
    const long B = block.batch, T = block.tokens, D = block.hidden, prefix = T > 1;
    const ReadoutShape s = {B, T, prefix, D, T, block.bf16, block.threads};
    const auto answer = random_floats(B * T * D), head = random_floats(T * D);
    const auto q = random_floats(2 * D), bias = random_floats(2), target = random_floats(B);
    std::vector<int64_t> labels(B * (T - prefix));
    for (size_t i = 0; i < labels.size(); ++i) labels[i] = i % 3 ? i % T : NO_LABEL;
    std::vector<char> saved(bytes_saved_by_readout(&s));
    std::vector<float> rows(7 * B), grad_answer(B * T * D), grad_head(T * D), grad_q(2 * D), ones(B, 1);
    std::vector<float> grad_bias(2);
    for (const float* wanted : {target.data(), static_cast<const float*>(nullptr)})
        check(readout_forward(&s, answer.data(), head.data(), q.data(), bias.data(), labels.data(),
                              wanted, saved.data(), rows.data()),
              OK);
    check(readout_backward(&s, answer.data(), head.data(), q.data(), bias.data(), ones.data(),
                           nullptr, saved.data(), rows.data(), grad_answer.data(), grad_head.data(),
                           grad_q.data(), grad_bias.data()),
          OK);
    check(readout_forward(&s, answer.data(), head.data(), nullptr, nullptr, labels.data(), nullptr,
                          saved.data(), rows.data()),
          OK);
    check(readout_backward(&s, answer.data(), head.data(), nullptr, nullptr, nullptr, ones.data(),
                           saved.data(), rows.data(), grad_answer.data(), nullptr, nullptr, nullptr),
          OK);
}

// Makes input states of the block's size, with learned positions, and their gradients.
static void run_embedding(const Shape& s) {
    const long B = s.batch, T = s.tokens, D = s.hidden, prefix = T > 1, V = 3, P = D - 1;
    std::vector<int64_t> ids(B * (T - prefix));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = i % V;
    const auto table = random_floats(V * D), puzzles = random_floats(B * P);
    const auto positions = random_floats(T * D), grad = random_floats(B * T * D);
    std::vector<float> out(B * T * D), grad_table(V * D), grad_puzzles(B * P), grad_positions(T * D);
    const long puzzle = prefix ? P : 0;
    check(embedding_forward(ids.data(), table.data(), puzzles.data(), positions.data(), out.data(),
                            B, T, prefix, D, V, puzzle, s.threads, 8),
          OK);
    check(embedding_backward(ids.data(), grad.data(), grad_table.data(), grad_puzzles.data(),
                             grad_positions.data(), B, T, prefix, D, V, puzzle, s.threads, 1, 8),
          OK);
    ids[0] = V;
    check(embedding_forward(ids.data(), table.data(), puzzles.data(), nullptr, out.data(), B, T,
                            prefix, D, V, puzzle, s.threads, 8),
          FAILED);
}

// Updates as many parameters as a row of states has numbers, and copies of all but one.
static void run_adam(const Shape& block) {
    const long count = block.tokens * block.hidden;
    auto parameters = random_floats(count), gradient = random_floats(count);
    std::vector<float> mean(count), square(count);
    std::vector<uint16_t> copies(count - 1);
    double length = 0;
    check(vector_norm(gradient.data(), count, block.threads, &length), OK);
    for (const bool atan2 : {false, true})
        check(adam_update(parameters.data(), gradient.data(), mean.data(), square.data(),
                          copies.data(), count, count - 1, block.threads, atan2, 0.1, 1, 0.9, 0.95,
                          0.1, 0.05, 0.1, 1e-8),
              OK);
}

int main(int, char** arguments) {
    const auto number = [&](int i) { return std::atol(arguments[i]); };
    const Shape s = {number(1), number(2), number(3), number(4),
                     number(5), number(2), number(6), number(7)};
    run_swiglu(s);
    run_embedding(s);
    run_readout(s);
    run_adam(s);
    state = 1;
    const Results r = run(s, number(8));
    for (const auto* result : {&r.z, &r.z_without_saving, &r.z_of_first_tokens, &r.grad_x})
        write(*result);
    for (const auto& grad : r.grads) write(grad);
}
