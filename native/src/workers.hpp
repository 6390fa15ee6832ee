// Threads that help with one run after another.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace mobilenets {

class Workers {
public:
    /// Computes one part of one stage. Different parts of a stage may run concurrently.
    using Part = std::function<void(std::size_t stage, int part)>;

    /// `threads` in total, including the caller of `run`.
    explicit Workers(int threads);
    ~Workers();

    /// Computes the stages one after the other, each with as many parts as there are threads. Returns false, and does nothing,
    /// if the threads are busy with another run. Rethrows an exception of a part.
    bool run(std::size_t stages, Part part);

private:
    class Team;
    std::unique_ptr<Team> team_;
};

}  // namespace mobilenets
