// Runs a graph on numbers from a file: for tests of other processors under an emulator, and for sanitizers.
//
//     run_graph GRAPH IMAGES OUTPUTS [THREADS [PLAN [INSTRUCTIONS]]]
//
// IMAGES contains any number of images, one after the other; the outputs are written to OUTPUTS in the order of their names in
// the file. With "-" for IMAGES, the graph is only loaded. Several graphs, joined by commas, are loaded or run in turn.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "engine.hpp"

namespace {

std::vector<char> contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void run(const std::string& graph, const std::string& images, const std::string& outputs,
         const mobilenets::Settings& settings) {
    mobilenets::Engine engine(mobilenets::mapped_file(graph), settings);
    if (images == "-") return;
    const std::vector<char> numbers = contents(images);
    const std::size_t count = numbers.size() / engine.graph().values[0].bytes();
    std::vector<std::vector<char>> made;
    std::vector<void*> places;
    for (std::size_t i = 0; i < engine.graph().outputs.size(); ++i) {
        made.emplace_back(count * engine.output_bytes(i));
        places.push_back(made.back().data());
    }
    engine.run(numbers.data(), static_cast<int>(count), places);
    std::ofstream file(outputs, std::ios::binary);
    for (const auto& bytes : made) file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 4) {
        std::fprintf(stderr, "usage: run_graph GRAPH IMAGES OUTPUTS [THREADS [PLAN [INSTRUCTIONS]]]\n");
        return 2;
    }
    mobilenets::Settings settings;
    if (count > 4) settings.threads = std::atoi(arguments[4]);
    if (count > 5) settings.plan = arguments[5];
    if (count > 6) settings.instructions = arguments[6];
    int failures = 0;
    std::istringstream graphs(arguments[1]);
    for (std::string graph; std::getline(graphs, graph, ',');) {
        try {
            run(graph, arguments[2], arguments[3], settings);
        } catch (const std::exception& error) {
            std::fprintf(stderr, "%s: %s\n", graph.c_str(), error.what());
            failures = 1;
        }
    }
    return failures;
}
