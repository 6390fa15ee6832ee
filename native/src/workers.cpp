// Threads that spin briefly between two runs, and then sleep.
#include "workers.hpp"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

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

/// Work shared by threads: successive stages, each of parts that any free thread takes. A preempted thread delays the others
/// only if it has taken a part; one that comes late finds nothing left, and touches nothing else.
class Run {
public:
    Run(std::size_t stages, int parts, Workers::Part part) : parts_(parts), part_(std::move(part)), progress_(stages) {}

    /// Takes parts, and returns when every stage is done.
    void help() {
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

    /// Rethrows an exception of a part.
    void check() const {
        if (failure_) std::rethrow_exception(failure_);
    }

private:
    struct Progress {
        std::atomic<int> taken{0}, done{0};
    };

    void take(std::size_t stage, int part) {
        try {
            part_(stage, part);
        } catch (...) {
            const std::lock_guard lock(failure_mutex_);
            failure_ = std::current_exception();
        }
    }

    int parts_;
    Workers::Part part_;
    std::vector<Progress> progress_;
    std::mutex failure_mutex_;
    std::exception_ptr failure_;
};

}  // namespace

class Workers::Team {
public:
    explicit Team(int threads) : parts_(threads) {
        for (int i = 1; i < threads; ++i) threads_.emplace_back([this] { work(); });
    }

    ~Team() {
        ends_.store(true);
        runs_.fetch_add(1);
        runs_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    bool run(std::size_t stages, Part part) {
        const std::unique_lock turn(turn_, std::try_to_lock);
        if (!turn.owns_lock()) return false;
        const auto run = std::make_shared<Run>(stages, parts_, std::move(part));
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
        return true;
    }

private:
    std::shared_ptr<Run> current() {
        const std::lock_guard lock(current_mutex_);
        return current_;
    }

    void work() {
        unsigned seen = 0;
        while (true) {
            for (int spins = 0; spins < spins_of_worker && runs_.load(std::memory_order_acquire) == seen; ++spins) pause();
            runs_.wait(seen, std::memory_order_acquire);
            seen = runs_.load(std::memory_order_acquire);
            if (ends_.load()) return;
            if (const std::shared_ptr<Run> run = current()) run->help();
        }
    }

    int parts_;
    std::mutex turn_, current_mutex_;
    std::shared_ptr<Run> current_;
    std::atomic<unsigned> runs_{0};
    std::atomic<bool> ends_{false};
    std::vector<std::thread> threads_;
};

Workers::Workers(int threads) : team_(std::make_unique<Team>(threads)) {}

Workers::~Workers() = default;

bool Workers::run(std::size_t stages, Part part) { return team_->run(stages, std::move(part)); }

}  // namespace mobilenets
