// The JavaScript binding of the engine, on which the page's `web/src/engines/native.ts` is built. An instance of the module is
// one network. Addresses refer to the instance's memory.
#include <memory>
#include <string>
#include <vector>

#include "../buffer.hpp"
#include "../engine.hpp"
#include "../errors.hpp"

#define EXPORTED(name) extern "C" __attribute__((export_name(name)))

namespace {

using mobilenets::Buffer;
using mobilenets::Engine;
using mobilenets::GraphError;
using mobilenets::Number;
using mobilenets::Shape;
using mobilenets::Value;

std::string quoted(const std::string& text) {
    constexpr const char* digits = "0123456789abcdef";
    std::string made = "\"";
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20)
            made += std::string("\\u00") + digits[c >> 4] + digits[c & 15];
        else
            made += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    }
    return made + '"';
}

std::string list(const Shape& shape) {
    std::string made;
    for (const std::int64_t side : shape) made += (made.empty() ? "" : ",") + std::to_string(side);
    return "[" + made + "]";
}

/// The name of a number type in images and outputs.
const char* type_of(Number number) {
    switch (number) {
        case Number::float32: return "float32";
        case Number::bfloat16: break;  // never the type of an image or output
        case Number::int8: return "int8";
        case Number::int32: return "int64";
        case Number::index: return "uint8";
    }
    return "";
}

/// A network, with the memory for its image and its outputs.
class Network {
public:
    explicit Network(mobilenets::FileBytes file) : engine_(std::move(file), {}) {
        const mobilenets::Graph& graph = engine_.graph();
        const Value& image = graph.values[0];
        image_ = Buffer(image.bytes());
        facts_ = "{\"instructions\":" + quoted(engine_.instructions()) +
                 ",\"arenaBytes\":" + std::to_string(engine_.arena_bytes()) +
                 ",\"scratchBytes\":" + std::to_string(engine_.scratch_bytes()) +
                 ",\"image\":" + place("image", image_, image) + ",\"outputs\":[";
        for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
            const Value& value = graph.values[static_cast<std::size_t>(graph.outputs[i].value)];
            outputs_.emplace_back(engine_.output_bytes(i));
            places_.push_back(outputs_.back().data());
            facts_ += (i > 0 ? "," : "") + place(graph.outputs[i].name, outputs_.back(), value);
        }
        facts_ += "]}";
    }

    const char* facts() const { return facts_.c_str(); }
    void run() { engine_.run(image_.data(), 1, places_); }

private:
    static std::string place(const std::string& name, const Buffer& buffer, const Value& value) {
        return "{\"name\":" + quoted(name) + ",\"at\":" + std::to_string(reinterpret_cast<std::uintptr_t>(buffer.data())) +
               ",\"type\":" + quoted(type_of(value.number)) + ",\"shape\":" + list(value.shape) + "}";
    }

    Engine engine_;
    Buffer image_;
    std::vector<Buffer> outputs_;
    std::vector<void*> places_;
    std::string facts_;
};

Network* network = nullptr;  // of this instance

}  // namespace

/// Allocates memory for the bytes of a graph file.
EXPORTED("reserve") std::byte* reserve(std::size_t bytes) { return static_cast<std::byte*>(::operator new(bytes)); }

/// Opens the graph with these bytes, and takes ownership of them. Returns zero-terminated JSON with the network's input and
/// outputs, and the memory that it needs.
EXPORTED("load") const char* load(const std::byte* bytes, std::size_t size) {
    if (network) throw GraphError("this instance has a network already");
    network = new Network({{bytes, size}, nullptr});
    return network->facts();
}

/// Computes the outputs for the image.
EXPORTED("run") void run() {
    if (!network) throw GraphError("no network is loaded");
    network->run();
}
