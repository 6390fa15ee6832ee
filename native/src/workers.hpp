// Threads that help with one run after another. They spin for a moment between two runs, and then sleep.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace mobilenets {

/// Work that threads share: stages one after the other, each of parts that whoever is free takes. A thread that the system has
/// put aside holds nobody up unless it has taken a part; one that comes late finds nothing left, and touches nothing else.
class Run {
public:
    using Part = std::function<void(std::size_t stage, int part)>;

    Run(std::size_t stages, int parts, Part part) : parts_(parts), part_(std::move(part)), progress_(stages) {}

    /// Takes parts, and returns when every stage is done.
    void help();
    /// Throws what a part has thrown.
    void check() const;

private:
    struct Progress {
        std::atomic<int> taken{0}, done{0};
    };

    void take(std::size_t stage, int part);

    int parts_;
    Part part_;
    std::vector<Progress> progress_;
    std::mutex failure_mutex_;
    std::exception_ptr failure_;
};

class Workers {
public:
    /// `threads` in all, of which the caller of `run` is one.
    explicit Workers(int threads);
    ~Workers();

    /// Does the work together with the other threads. Only who owns `turn()` may call it.
    void run(const std::shared_ptr<Run>& run);

    std::mutex& turn() { return turn_; }

private:
    void work();
    std::shared_ptr<Run> current();

    std::mutex turn_, current_mutex_;
    std::shared_ptr<Run> current_;
    std::atomic<unsigned> runs_{0};
    std::atomic<bool> ends_{false};
    std::vector<std::thread> threads_;
};

}  // namespace mobilenets
