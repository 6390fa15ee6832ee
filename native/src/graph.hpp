// A network as plain data: operators in the order in which they run, the values they read and make, and weights that stay
// where the file is mapped.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mapped_file.hpp"
#include "operators/curves.hpp"

namespace mobilenets {

/// The kinds of operators; their names in files are those of `mobilenets.deploy.operators.KINDS`, in this order.
enum class Kind {
    conv,
    depthwise,
    dense,
    add,
    multiply,
    pool,
    activation,
    resize,
    concat,
    flatten,
    rows,
    places,
    matmul,
    softmax,
    argmax,
    boxes,
    nms,
    quantize,
    dequantize,
};
inline constexpr std::array kind_names{
    "conv", "depthwise", "dense",  "add",     "multiply", "pool",  "activation", "resize",   "concat",     "flatten",
    "rows", "places",    "matmul", "softmax", "argmax",   "boxes", "nms",        "quantize", "dequantize",
};

/// The names of `Curve` in files.
inline constexpr std::array curve_names{"linear", "relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "gelu"};

enum class Number { float32, bfloat16, int8, int32, index };  // an index is an unsigned byte: a class of a pixel

inline std::size_t bytes_of(Number number) {
    return number == Number::float32 || number == Number::int32 ? 4 : number == Number::bfloat16 ? 2 : 1;
}

/// C H W of a map, P C of a table of rows, C of one row.
using Shape = std::vector<std::int64_t>;

std::int64_t count(const Shape& shape);
std::string describe(const Shape& shape);

struct Tensor {
    Number number = Number::float32;
    Shape shape;
    const std::byte* data = nullptr;  // not aligned

    template <typename T>
    std::vector<T> copied() const {
        std::vector<T> numbers(static_cast<std::size_t>(count(shape)));
        std::memcpy(numbers.data(), data, numbers.size() * sizeof(T));
        return numbers;
    }
};

/// real = scale * (integer - zero_point)
struct Quantization {
    std::vector<float> scales;
    int zero_point = 0;

    bool operator==(const Quantization&) const = default;
};

struct Value {
    std::string name;
    Shape shape;
    Number number = Number::float32;
    int source = -1;            // whose memory it stands in: itself, or the value that it is a reshape of
    Quantization quantization;  // empty scales for floats

    bool is_map() const { return shape.size() == 3; }
    bool quantized() const { return !quantization.scales.empty(); }
    float scale() const { return quantization.scales[0]; }
    int zero_point() const { return quantization.zero_point; }

    // How it lies in memory: rows of places of channels, the channels of one place side by side.
    int height() const { return static_cast<int>(is_map() ? shape[1] : shape.size() == 2 ? shape[0] : 1); }
    int width() const { return static_cast<int>(is_map() ? shape[2] : 1); }
    int channels() const {
        return static_cast<int>(is_map() || shape.size() == 1 ? shape[0] : shape.size() == 2 ? shape[1] : 1);
    }
    std::size_t row_bytes() const {
        return bytes_of(number) * static_cast<std::size_t>(width()) * static_cast<std::size_t>(channels());
    }
    std::size_t bytes() const { return row_bytes() * static_cast<std::size_t>(height()); }
};

using Pair = std::array<int, 2>;

struct Operator {
    Kind kind = Kind::conv;
    std::string name;
    std::vector<int> inputs;   // indices of values
    std::vector<int> outputs;  // likewise; several only for Kind::nms
    int block = -1;

    std::string weight, bias;                 // conv, depthwise, dense
    Pair stride{1, 1}, dilation{1, 1};        // conv, depthwise; pool has strides
    std::array<int, 4> padding{};             // conv, depthwise: top, bottom, left, right
    Curve curve = Curve::linear;              // conv, depthwise, dense, add: fused; activation: the curve
    Pair kernel{1, 1};                        // pool
    Pair size{1, 1};                          // resize, places, boxes
    bool align_corners = false;               // resize; argmax, if its output is larger than its input
    int columns = 1;                          // rows
    bool transposed = false;                  // matmul
    double factor = 1;                        // matmul
    std::string anchors, thresholds;          // boxes; nms
    std::array<double, 4> variances{};        // boxes
    int first = 0, candidates = 1, most = 1;  // nms
    double iou = 0;                           // nms
};

struct Output {
    std::string name;  // that the decoder knows
    int value = 0;
};

struct Graph {
    FileBytes file;
    std::string manifest;       // JSON
    std::string precision;      // that the manifest asks for, such as "float32"
    bool in_halves = false;     // whether sums multiply numbers of 16 bits
    std::vector<Value> values;  // the first is the image
    std::vector<Operator> operators;
    std::vector<Output> outputs;
    std::map<std::string, Tensor> tensors;
    std::map<std::string, Quantization> weight_quantization;

    const Tensor& tensor(const std::string& name) const { return tensors.at(name); }
    const Value& input(const Operator& operation, int i = 0) const {
        return values[static_cast<std::size_t>(operation.inputs[static_cast<std::size_t>(i)])];
    }
    const Value& output(const Operator& operation) const { return values[static_cast<std::size_t>(operation.outputs[0])]; }
};

/// The graph of a file that `mobilenets.deploy.file.save` wrote. Everything in it is checked, so that whatever uses the graph
/// can rely on it: names, shapes, types, ranges, sizes. Throws GraphError.
Graph read_graph(FileBytes file);

/// Gives every value its shape and number, operator by operator, and checks each operator against what it reads. `made` names
/// the values that each operator makes. Throws GraphError with the operator's name.
void infer_shapes(Graph& graph);

/// How many operators read a value, or another that stands in its memory; the caller, if it gets it, is one more.
int readers(const Graph& graph, int value);

/// Where a map of floats is made large only for an argmax, that reads the small map instead, and nobody the large one.
void show_small_maps(Graph& graph);

/// Whether an operator only gives its input another shape; channels lie side by side, so that no number moves.
inline bool renames(Kind kind) { return kind == Kind::flatten || kind == Kind::rows || kind == Kind::places; }

}  // namespace mobilenets
