#include "workers.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mobilenets {
namespace {

constexpr int spins_of_stage = 2'000, spins_of_worker = 20'000;  // about 20 and 200 microseconds

void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

void Run::help() {
    for (std::size_t stage = 0; stage < progress_.size(); ++stage) {
        Progress& progress = progress_[stage];
        for (int part; (part = progress.taken.fetch_add(1, std::memory_order_acq_rel)) < parts_;) {
            take(stage, part);
            progress.done.fetch_add(1, std::memory_order_release);
        }
        for (int spins = 0; progress.done.load(std::memory_order_acquire) < parts_; ++spins) {
            if (spins < spins_of_stage)
                pause();
            else
                std::this_thread::yield();
        }
    }
}

void Run::take(std::size_t stage, int part) {
    try {
        part_(stage, part);
    } catch (...) {
        const std::lock_guard lock(failure_mutex_);
        failure_ = std::current_exception();
    }
}

void Run::check() const {
    if (failure_) std::rethrow_exception(failure_);
}

Workers::Workers(int threads) {
    for (int i = 1; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Workers::~Workers() {
    ends_.store(true);
    runs_.fetch_add(1);
    runs_.notify_all();
    for (std::thread& thread : threads_) thread.join();
}

void Workers::run(const std::shared_ptr<Run>& run) {
    {
        const std::lock_guard lock(current_mutex_);
        current_ = run;
    }
    runs_.fetch_add(1, std::memory_order_release);
    runs_.notify_all();
    run->help();
    {
        const std::lock_guard lock(current_mutex_);
        current_.reset();
    }
    run->check();
}

std::shared_ptr<Run> Workers::current() {
    const std::lock_guard lock(current_mutex_);
    return current_;
}

void Workers::work() {
    unsigned seen = 0;
    while (true) {
        for (int spins = 0; spins < spins_of_worker && runs_.load(std::memory_order_acquire) == seen; ++spins) pause();
        runs_.wait(seen, std::memory_order_acquire);
        seen = runs_.load(std::memory_order_acquire);
        if (ends_.load()) return;
        if (const std::shared_ptr<Run> run = current()) run->help();
    }
}

}  // namespace mobilenets
