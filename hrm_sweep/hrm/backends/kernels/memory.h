// Memory, threads, and what a call returns.

#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

#include "vectors.h"

namespace {

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

enum Status { OK, OUT_OF_MEMORY, FAILED };  // as in kernel_library.py

// Calls work(); no exception leaves.
template <class Work>
int guarded(Work work) noexcept {
    try {
        work();
        return OK;
    } catch (const std::bad_alloc&) {
        return OUT_OF_MEMORY;
    } catch (...) {
        return FAILED;
    }
}

}  // namespace
