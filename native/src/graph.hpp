// A network as plain data: operators in execution order, the values they read and produce, and weights that stay in the mapped
// file.
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

enum class Number { float32, bfloat16, int8, int32, index };  // an index is an unsigned byte: the class of a pixel

inline std::size_t bytes_of(Number number) {
    return number == Number::float32 || number == Number::int32 ? 4 : number == Number::bfloat16 ? 2 : 1;
}

/// C H W of a feature map, P C of a table, C of a vector.
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
    int source = -1;            // the value whose memory it uses: itself, or the value that it reshapes
    Quantization quantization;  // empty scales for floats

    bool is_map() const { return shape.size() == 3; }
    bool quantized() const { return !quantization.scales.empty(); }
    float scale() const { return quantization.scales[0]; }
    int zero_point() const { return quantization.zero_point; }

    // Its memory layout: H W C, with the channels of a pixel side by side.
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
    std::string name;  // as the decoder knows it
    int value = 0;
};

struct Graph {
    FileBytes file;
    std::string manifest;       // JSON
    std::string precision;      // requested by the manifest, such as "float32"
    bool in_halves = false;     // whether products are of 16-bit numbers
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

/// Reads the graph of a file that `mobilenets.deploy.file.save` wrote. Everything in it is checked, so that all other code can
/// rely on names, shapes, types, ranges and sizes. Throws GraphError.
Graph read_graph(FileBytes file);

/// Infers the shape and number type of every value, operator by operator, and checks each operator against its inputs. Throws
/// GraphError with the operator's name.
void infer_shapes(Graph& graph);

/// The number of operators that read a value or one of its aliases; an output of the network counts as one more.
int readers(const Graph& graph, int value);

/// If a float map is resized only for an argmax, makes the argmax read the small map, so that nothing reads the large one.
void show_small_maps(Graph& graph);

/// Whether an operator only reshapes its input; channels are contiguous, so that no number moves.
inline bool renames(Kind kind) { return kind == Kind::flatten || kind == Kind::rows || kind == Kind::places; }

}  // namespace mobilenets
