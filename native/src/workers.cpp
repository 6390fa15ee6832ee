#include "workers.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mobilenets {
namespace {

constexpr int spins_of_barrier = 2'000, spins_of_worker = 20'000;  // about 20 and 200 microseconds

void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

void Barrier::wait() {
    const unsigned round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
        arrived_.store(0, std::memory_order_relaxed);
        round_.store(round + 1, std::memory_order_release);
        return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
        if (spins < spins_of_barrier) pause();
        else std::this_thread::yield();
    }
}

Workers::Workers(int threads) {
    for (int part = 1; part < threads; ++part) threads_.emplace_back([this, part] { work(part); });
}

Workers::~Workers() {
    ends_.store(true);
    runs_.fetch_add(1);
    runs_.notify_all();
    for (std::thread& thread : threads_) thread.join();
}

void Workers::run(const std::function<void(int)>& part) {
    part_ = &part;
    busy_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
    runs_.fetch_add(1, std::memory_order_release);
    runs_.notify_all();
    part(0);
    for (int spins = 0; busy_.load(std::memory_order_acquire) > 0; ++spins) {
        if (spins < spins_of_barrier) pause();
        else std::this_thread::yield();
    }
}

void Workers::work(int part) {
    unsigned seen = 0;
    while (true) {
        for (int spins = 0; spins < spins_of_worker && runs_.load(std::memory_order_acquire) == seen; ++spins) pause();
        runs_.wait(seen, std::memory_order_acquire);
        ++seen;
        if (ends_.load()) return;
        (*part_)(part);
        busy_.fetch_sub(1, std::memory_order_release);
    }
}

}  // namespace mobilenets
