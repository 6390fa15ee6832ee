// A network that is ready to run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "graph.hpp"
#include "mutex.hpp"
#include "plan.hpp"
#include "schedule.hpp"
#include "workers.hpp"

namespace mobilenets {

struct Settings {
    int threads = 1;               // per image
    std::string plan = "fastest";  // or "layers", one operator after the other, or "fused", every block row by row
    std::string instructions;      // "avx512", "avx2", "neon", "wasm", "plain"; the fastest of this processor if empty
};

class Engine {
public:
    /// Throws GraphError if the file is not a graph, or this processor lacks the instructions.
    Engine(FileBytes file, const Settings& settings);
    ~Engine();

    const Graph& graph() const { return graph_; }
    const Plan& plan() const { return plan_; }
    const char* instructions() const { return kernels_.name; }
    int threads() const { return threads_; }
    /// Memory for the values of one image and the operators' scratch memory, for all threads.
    std::size_t arena_bytes() const { return plan_.bytes; }
    std::size_t scratch_bytes() const { return scratch_bytes_ * static_cast<std::size_t>(threads_); }
    /// Size of an output in `run`, for one image.
    std::size_t output_bytes(std::size_t output) const;

    /// Runs `count` images, stored one after the other with channels first, as floats or, if the graph takes them, as integers.
    /// Outputs are written likewise: feature maps channels first, classes of boxes as 64-bit integers. Any number of threads
    /// may call it at the same time; only one of them is helped by the engine's threads.
    void run(const void* images, int count, const std::vector<void*>& outputs);

    /// The shortest time of each operator over some runs of one image, with all its parts run sequentially.
    std::vector<double> operator_seconds(const void* image, int runs);

private:
    class Workspace;

    void choose_plan(const std::string& name);
    void take_image(Workspace& workspace, const std::byte* image) const;
    void run_image(Workspace& workspace, const std::byte* image);
    void run_stage(Workspace& workspace, const Stage& stage, int part) const;
    std::unique_ptr<Workspace> take_workspace();
    void give_back(std::unique_ptr<Workspace> workspace);

    Graph graph_;
    const Kernels& kernels_;
    int threads_;
    Steps steps_;
    Plan plan_;
    std::vector<Stage> stages_;
    std::size_t scratch_bytes_ = 0;
    std::unique_ptr<Workers> workers_;
    Mutex free_mutex_;
    std::vector<std::unique_ptr<Workspace>> free_;
};

}  // namespace mobilenets
