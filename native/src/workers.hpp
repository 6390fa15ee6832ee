// Threads that help with one run after another.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace mobilenets {

class Workers {
public:
    /// Computes one part of one stage. Different parts of a stage may be computed at the same time.
    using Part = std::function<void(std::size_t stage, int part)>;

    /// `threads` in all, of which the caller of `run` is one.
    explicit Workers(int threads);
    ~Workers();

    /// Computes every stage, one after the other, each of as many parts as there are threads. Gives false, and does nothing,
    /// where the threads are busy with somebody else's run. Throws what a part has thrown.
    bool run(std::size_t stages, Part part);

private:
    class Team;
    std::unique_ptr<Team> team_;
};

}  // namespace mobilenets
