// Threads that help with one run after another. They spin for a moment between two runs, and then sleep.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mobilenets {

/// Lets threads wait for each other. They give their processor away when it takes long.
class Barrier {
public:
    explicit Barrier(int threads) : threads_(threads) {}
    void wait();

private:
    int threads_;
    std::atomic<int> arrived_{0};
    std::atomic<unsigned> round_{0};
};

class Workers {
public:
    /// `threads` in all, of which the caller of `run` is one.
    explicit Workers(int threads);
    ~Workers();

    /// Calls `part(0)` here and `part(1)`, ... on the other threads, and returns when all are done. Only who owns `turn()` may call it.
    void run(const std::function<void(int)>& part);

    std::mutex& turn() { return turn_; }

private:
    void work(int part);

    std::mutex turn_;
    const std::function<void(int)>* part_ = nullptr;
    std::atomic<unsigned> runs_{0};
    std::atomic<int> busy_{0};
    std::atomic<bool> ends_{false};
    std::vector<std::thread> threads_;
};

}  // namespace mobilenets
