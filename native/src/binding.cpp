// The Python binding of the engine, on which the public `mobilenets.runtime.engines.native` is built.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "engine.hpp"
#include "errors.hpp"

namespace nb = nanobind;

namespace {

using mobilenets::Engine;
using mobilenets::Number;
using mobilenets::Value;

using Images = nb::ndarray<nb::ro, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

const Value& value_of(const Engine& engine, std::size_t output) {
    return engine.graph().values[static_cast<std::size_t>(engine.graph().outputs[output].value)];
}

nb::dlpack::dtype type_of(Number number) {
    switch (number) {
        case Number::float32: return nb::dtype<float>();
        case Number::bfloat16: break;  // never the type of an image or output
        case Number::int8: return nb::dtype<std::int8_t>();
        case Number::int32: return nb::dtype<std::int64_t>();
        case Number::index: return nb::dtype<std::uint8_t>();
    }
    return nb::dtype<float>();
}

nb::object empty_array(const Engine& engine, std::size_t output, std::size_t count, void*& data) {
    const Value& value = value_of(engine, output);
    std::vector<std::size_t> shape{count};
    for (std::int64_t side : value.shape) shape.push_back(static_cast<std::size_t>(side));
    data = ::operator new(std::max<std::size_t>(1, count * engine.output_bytes(output)));
    const nb::capsule owner(data, [](void* memory) noexcept { ::operator delete(memory); });
    return nb::cast(nb::ndarray<nb::numpy>(data, shape.size(), shape.data(), owner, nullptr, type_of(value.number)));
}

void check(const Engine& engine, const Images& images) {
    const Value& image = engine.graph().values[0];
    bool fits = images.dtype() == type_of(image.number);
    for (std::size_t i = 0; i < 3; ++i) fits = fits && images.shape(i + 1) == static_cast<std::size_t>(image.shape[i]);
    if (!fits) {
        const char* type = image.number == Number::int8 ? "int8" : "float32";
        throw mobilenets::GraphError("the network takes images N x " + mobilenets::describe(image.shape) + " in " + type);
    }
}

nb::dict run(Engine& engine, const Images& images) {
    check(engine, images);
    nb::dict made;
    std::vector<void*> outputs(engine.graph().outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        made[engine.graph().outputs[i].name.c_str()] = empty_array(engine, i, images.shape(0), outputs[i]);
    }
    const nb::gil_scoped_release others_may_run;
    engine.run(images.data(), static_cast<int>(images.shape(0)), outputs);
    return made;
}

std::vector<std::pair<std::string, double>> operator_seconds(Engine& engine, const Images& images, int runs) {
    check(engine, images);
    if (images.shape(0) < 1 || runs < 1) throw mobilenets::GraphError("one image and one run at least are timed");
    const nb::gil_scoped_release others_may_run;
    const std::vector<double> seconds = engine.operator_seconds(images.data(), runs);
    std::vector<std::pair<std::string, double>> named;
    for (std::size_t i = 0; i < seconds.size(); ++i) named.emplace_back(engine.graph().operators[i].name, seconds[i]);
    return named;
}

}  // namespace

NB_MODULE(_engine, module) {
    nb::exception<mobilenets::GraphError>(module, "GraphError", PyExc_ValueError);
    nb::class_<Engine>(module, "Engine", "A network that is ready to run; any number of threads may run it at the same time.")
        .def(
            "__init__",
            [](Engine* place, const std::string& path, int threads, const std::string& plan, const std::string& instructions) {
                const nb::gil_scoped_release others_may_run;
                new (place) Engine(mobilenets::mapped_file(path), {threads, plan, instructions});
            },
            nb::arg("path"), nb::kw_only(), nb::arg("threads") = 1, nb::arg("plan") = "fastest", nb::arg("instructions") = "",
            "Open a graph file. `plan` is 'fastest', 'fused' or 'layers'; `instructions` is '' for the fastest of this "
            "processor.")
        .def_prop_ro_static(
            "fastest_instructions", [](nb::handle) { return std::string(mobilenets::kernels_for("").name); },
            "The instruction set that is used unless another is asked for.")
        .def_prop_ro_static(
            "instruction_sets",
            [](nb::handle) {
                const std::vector<const char*> here = mobilenets::kernels_here();
                return std::vector<std::string>(here.begin(), here.end());
            },
            "The instruction sets that this processor has, the fastest first.")
        .def("operator_seconds", operator_seconds, nb::arg("images"), nb::kw_only(), nb::arg("runs") = 100,
             "The name of each operator, in the order in which they run, and the least seconds that it took for the first "
             "image, on one thread.")
        .def("run", run, nb::arg("images"), "The outputs by name, for images N C H W in the type that the network takes.")
        .def_prop_ro(
            "manifest", [](const Engine& engine) { return engine.graph().manifest; }, "The manifest as JSON.")
        .def_prop_ro(
            "outputs",
            [](const Engine& engine) {
                std::vector<std::string> names;
                for (const auto& output : engine.graph().outputs) names.push_back(output.name);
                return names;
            },
            "Names of what the network returns.")
        .def_prop_ro(
            "input_shape", [](const Engine& engine) { return engine.graph().values[0].shape; }, "Channels, height and width.")
        .def_prop_ro("arena_bytes", &Engine::arena_bytes, "Memory of all values of one image: the peak of the plan.")
        .def_prop_ro("scratch_bytes", &Engine::scratch_bytes, "Memory that operators need besides, for all threads.")
        .def_prop_ro("threads", &Engine::threads, "Threads that compute one image.")
        .def_prop_ro(
            "instructions", [](const Engine& engine) { return std::string(engine.instructions()); }, "The instruction set.")
        .def_prop_ro(
            "groups",
            [](const Engine& engine) {
                std::vector<std::tuple<int, int, int>> groups;
                for (const auto& group : engine.plan().groups)
                    groups.emplace_back(group.operators.from, group.operators.to, group.band);
                return groups;
            },
            "How the operators run: from which to which as one, and how many rows at once.");
}
