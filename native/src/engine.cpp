#include "engine.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include "choice.hpp"
#include "errors.hpp"
#include "halves.hpp"

namespace mobilenets {
namespace {

constexpr int most_threads = 256;

/// Whether a weight is -128, whose negative does not fit 8 bits.
bool has_least(const Graph& graph) {
    return std::any_of(graph.tensors.begin(), graph.tensors.end(), [](const auto& named) {
        const Tensor& tensor = named.second;
        return tensor.number == Number::int8 && std::memchr(tensor.data, 0x80, static_cast<std::size_t>(count(tensor.shape)));
    });
}

template <typename Number>
void to_channels_last(const Number* from, Number* to, const Value& value) {
    const std::size_t channels = index(value.channels()), places = index(value.width()) * index(value.height());
    if (channels == 3) {  // colors: the three planes are read together
        for (std::size_t i = 0; i < places; ++i, to += 3)
            to[0] = from[i], to[1] = from[places + i], to[2] = from[2 * places + i];
        return;
    }
    for (std::size_t c = 0; c < channels; ++c) {
        for (std::size_t i = 0; i < places; ++i) to[i * channels + c] = from[c * places + i];
    }
}

template <typename Number>
void to_channels_first(const Number* from, Number* to, const Value& value) {
    const std::size_t channels = index(value.channels()), places = index(value.width()) * index(value.height());
    for (std::size_t i = 0; i < places; ++i) {
        for (std::size_t c = 0; c < channels; ++c) to[c * places + i] = from[i * channels + c];
    }
}

void copy_image(const std::byte* from, std::byte* to, const Value& value) {
    if (value.number == Number::float32)
        to_channels_last(reinterpret_cast<const float*>(from), reinterpret_cast<float*>(to), value);
    else
        to_channels_last(reinterpret_cast<const std::int8_t*>(from), reinterpret_cast<std::int8_t*>(to), value);
}

void copy_output(const std::byte* from, std::byte* to, const Value& value) {
    if (value.number == Number::int32) {
        for (std::int64_t i = 0; i < count(value.shape); ++i) {
            reinterpret_cast<std::int64_t*>(to)[i] = reinterpret_cast<const std::int32_t*>(from)[i];
        }
    } else if (!value.is_map()) {
        std::memcpy(to, from, value.bytes());
    } else if (value.number == Number::float32) {
        to_channels_first(reinterpret_cast<const float*>(from), reinterpret_cast<float*>(to), value);
    } else {
        to_channels_first(reinterpret_cast<const std::int8_t*>(from), reinterpret_cast<std::int8_t*>(to), value);
    }
}

}  // namespace

/// The memory of one run: the arena and, for each part of the work, the locations of every operator's inputs and outputs.
class Engine::Workspace {
public:
    explicit Workspace(const Engine& engine) : arena_(engine.plan_.bytes), parts_(index(engine.threads_)) {
        for (int t = 0; t < engine.threads_; ++t) {
            Part& part = parts_[index(t)];
            part.scratch = Buffer(engine.scratch_bytes_);
            for (const Operator& operation : engine.graph_.operators) {
                Bound bound;
                for (int value : operation.inputs) bound.inputs.push_back(rows(engine, value, t));
                for (int value : operation.outputs) bound.outputs.push_back(rows(engine, value, t));
                part.bound.push_back(std::move(bound));
            }
        }
    }

    /// Let the operators read the image in place, with each channel as a separate plane.
    void show_image(const Engine& engine, const std::byte* image) {
        const Value& value = engine.graph_.values[0];
        const std::size_t row_bytes = value.row_bytes() / index(value.channels());
        const Rows rows{const_cast<std::byte*>(image), value.height(), row_bytes, row_bytes * index(value.height())};
        for (Part& part : parts_) {
            for (std::size_t i = 0; i < part.bound.size(); ++i) {
                if (engine.graph_.operators[i].inputs[0] == 0) part.bound[i].inputs[0] = rows;
            }
        }
    }

    Job job(const Call& call, int part) const {
        const Bound& bound = parts_[index(part)].bound[index(call.operation)];
        return {bound.inputs.data(), bound.outputs.data(), call.rows, call.panels, parts_[index(part)].scratch.data()};
    }

    std::byte* at(const Engine& engine, int value) const { return arena_.data() + engine.plan_.places[index(value)].offset; }

private:
    struct Bound {
        std::vector<Rows> inputs, outputs;
    };
    struct Part {
        Buffer scratch;
        std::vector<Bound> bound;  // of each operator
    };

    Rows rows(const Engine& engine, int value, int part) const {
        const Place& place = engine.plan_.places[index(value)];
        const std::size_t row_bytes = engine.graph_.values[index(value)].row_bytes();
        const std::size_t ring = place.is_ring ? index(part) * place.copy_bytes : 0;
        return {arena_.data() + place.offset + ring, place.held, row_bytes};
    }

    Buffer arena_;
    std::vector<Part> parts_;
};

Engine::Engine(FileBytes file, const Settings& settings)
    : graph_(read_graph(std::move(file))),
      kernels_(kernels_for(settings.instructions.c_str(), has_least(graph_))),
      threads_(settings.threads) {
    if (threads_ < 1 || threads_ > most_threads) throw GraphError("the number of threads must be 1 to 256");
    if (settings.plan != "layers") show_small_maps(graph_);
    if (graph_.precision == "bfloat16" && kernels_.halves) compute_in_halves(graph_);
    for (const Operator& operation : graph_.operators) {
        steps_.push_back(make_step(graph_, operation, kernels_));
        scratch_bytes_ = std::max(scratch_bytes_, steps_.back()->scratch_bytes());
    }
    choose_plan(settings.plan);
    stages_ = scheduled(graph_, plan_, steps_, threads_);
    if (threads_ > 1) workers_ = std::make_unique<Workers>(threads_);
}

Engine::~Engine() = default;

void Engine::choose_plan(const std::string& name) {
    if (name != "layers" && name != "fused" && name != "fastest")
        throw GraphError("the plan '" + name + "' is unknown; there are 'fastest', 'fused' and 'layers'");
    if (name == "fastest")
        plan_ = fastest_plan(graph_, steps_, threads_);
    else
        plan_ = possible_plan(graph_, steps_, name == "layers" ? layer_by_layer(graph_) : block_by_block(graph_), threads_);
}

std::size_t Engine::output_bytes(std::size_t output) const {
    const Value& value = graph_.values[index(graph_.outputs[output].value)];
    return value.bytes() * (value.number == Number::int32 ? 2 : 1);
}

void Engine::run(const void* images, int count, const std::vector<void*>& outputs) {
    std::unique_ptr<Workspace> workspace = take_workspace();
    const std::size_t image_bytes = graph_.values[0].bytes();
    for (int n = 0; n < count; ++n) {
        run_image(*workspace, static_cast<const std::byte*>(images) + index(n) * image_bytes);
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            const int value = graph_.outputs[i].value;
            copy_output(workspace->at(*this, value), static_cast<std::byte*>(outputs[i]) + index(n) * output_bytes(i),
                        graph_.values[index(value)]);
        }
    }
    give_back(std::move(workspace));
}

std::vector<double> Engine::operator_seconds(const void* image, int runs) {
    using Clock = std::chrono::steady_clock;
    std::unique_ptr<Workspace> workspace = take_workspace();
    std::vector<double> least(steps_.size(), std::numeric_limits<double>::infinity());
    for (int run = 0; run < runs; ++run) {
        std::vector<double> seconds(steps_.size());
        take_image(*workspace, static_cast<const std::byte*>(image));
        for (const Stage& stage : stages_) {
            for (int part = 0; part < threads_; ++part) {
                for (const Call& call : stage.parts[index(part)]) {
                    const auto start = Clock::now();
                    steps_[index(call.operation)]->compute(workspace->job(call, part));
                    seconds[index(call.operation)] += std::chrono::duration<double>(Clock::now() - start).count();
                }
            }
        }
        for (std::size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], seconds[i]);
    }
    give_back(std::move(workspace));
    return least;
}

void Engine::take_image(Workspace& workspace, const std::byte* image) const {
    if (plan_.image_stays)
        workspace.show_image(*this, image);
    else
        copy_image(image, workspace.at(*this, 0), graph_.values[0]);
}

void Engine::run_image(Workspace& workspace, const std::byte* image) {
    take_image(workspace, image);
    const auto compute = [&](std::size_t stage, int part) { run_stage(workspace, stages_[stage], part); };
    if (workers_ && workers_->run(stages_.size(), compute)) return;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
        for (int part = 0; part < threads_; ++part) compute(stage, part);
    }
}

void Engine::run_stage(Workspace& workspace, const Stage& stage, int part) const {
    for (const Call& call : stage.parts[index(part)]) steps_[index(call.operation)]->compute(workspace.job(call, part));
}

std::unique_ptr<Engine::Workspace> Engine::take_workspace() {
    {
        const Lock lock(free_mutex_);
        if (!free_.empty()) {
            auto workspace = std::move(free_.back());
            free_.pop_back();
            return workspace;
        }
    }
    return std::make_unique<Workspace>(*this);
}

void Engine::give_back(std::unique_ptr<Workspace> workspace) {
    const Lock lock(free_mutex_);
    free_.push_back(std::move(workspace));
}

}  // namespace mobilenets
