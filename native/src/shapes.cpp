// Shape inference for each operator, and the int8 rules: the same checks as `mobilenets.deploy.shapes` and
// `mobilenets.deploy.int8_rules`.
#include <algorithm>
#include <limits>

#include "errors.hpp"
#include "graph.hpp"

namespace mobilenets {
namespace {

constexpr std::int64_t most_numbers = (std::int64_t{1} << 31) - 1;  // in one value

class Inference {
public:
    Inference(Graph& graph, const Operator& operation) : graph_(graph), operator_(operation) {}

    void apply() {
        const Shape first = shape();
        for (std::size_t i = 0; i < operator_.outputs.size(); ++i) {
            Value& made = value(operator_.outputs[i]);
            made.shape = i == 0 ? first : Shape{first[0]};
            if (count(made.shape) < 1) fail("makes nothing");
            if (count(made.shape) > most_numbers)
                fail("makes " + std::to_string(count(made.shape)) + " numbers, which are too many");
        }
        if (operator_.kind == Kind::argmax) value(operator_.outputs[0]).number = Number::index;
        if (operator_.kind == Kind::nms) value(operator_.outputs[2]).number = Number::int32;
        if (renames(operator_.kind)) value(operator_.outputs[0]).source = value(operator_.inputs[0]).source;
        check_numbers();
    }

private:
    [[noreturn]] void fail(const std::string& problem) const { throw GraphError("'" + operator_.name + "' " + problem); }

    Value& value(int i) const { return graph_.values[static_cast<std::size_t>(i)]; }
    const Shape& input(std::size_t i = 0) const { return value(operator_.inputs[i]).shape; }

    void need_ranks(std::initializer_list<std::size_t> ranks) const {
        bool right = operator_.inputs.size() == ranks.size();
        for (std::size_t i = 0; right && i < ranks.size(); ++i) right = input(i).size() == ranks.begin()[i];
        if (!right) fail("cannot read what it is given: " + inputs());
    }
    std::string inputs() const {
        std::string text;
        for (std::size_t i = 0; i < operator_.inputs.size(); ++i) text += (i ? ", " : "") + describe(input(i));
        return text.empty() ? "nothing" : text;
    }

    const Tensor& tensor(const std::string& name) const {
        const auto found = graph_.tensors.find(name);
        if (found == graph_.tensors.end()) fail("has no weight '" + name + "'");
        return found->second;
    }
    const Shape& weight(std::size_t rank) const {
        const Shape& shape = tensor(operator_.weight).shape;
        const Shape& bias = tensor(operator_.bias).shape;
        if (shape.size() != rank || count(shape) < 1 || bias != Shape{shape[0]}) {
            fail("has a weight " + describe(shape) + " with a bias " + describe(bias));
        }
        return shape;
    }

    Shape window(std::int64_t channels, std::int64_t kernel_height, std::int64_t kernel_width) const {
        const std::array kernel{kernel_height, kernel_width};
        Shape made{channels, 0, 0};
        for (std::size_t i = 0; i < 2; ++i) {
            const std::int64_t reach = operator_.dilation[i] * (kernel[i] - 1) + 1;
            const std::int64_t room = input()[i + 1] + operator_.padding[2 * i] + operator_.padding[2 * i + 1] - reach;
            if (room < 0) fail("has a window larger than its map, " + describe(input()));
            made[i + 1] = room / operator_.stride[i] + 1;
        }
        return made;
    }

    Shape shape() const {
        switch (operator_.kind) {
            case Kind::conv: {
                need_ranks({3});
                const Shape& filters = weight(4);
                if (filters[1] != input()[0])
                    fail("has filters for " + std::to_string(filters[1]) + " channels, but reads " + describe(input()));
                return window(filters[0], filters[2], filters[3]);
            }
            case Kind::depthwise: {
                need_ranks({3});
                const Shape& filters = weight(4);
                if (filters[0] != input()[0] || filters[1] != 1)
                    fail("has filters " + describe(filters) + ", but reads " + describe(input()));
                return window(filters[0], filters[2], filters[3]);
            }
            case Kind::dense: {
                need_ranks({1});
                const Shape& matrix = weight(2);
                if (matrix[1] != input()[0]) fail("has a matrix " + describe(matrix) + ", but reads " + describe(input()));
                return {matrix[0]};
            }
            case Kind::add:
                need_ranks({3, 3});
                if (input(0) != input(1)) fail("adds " + inputs());
                return input();
            case Kind::multiply:
                need_ranks({3, 3});
                if (input(1) != input(0) && input(1) != Shape{input()[0], 1, 1}) fail("multiplies " + inputs());
                return input();
            case Kind::pool: need_ranks({3}); return window(input()[0], operator_.kernel[0], operator_.kernel[1]);
            case Kind::activation:
            case Kind::quantize:
            case Kind::dequantize:
                if (operator_.inputs.size() != 1) fail("reads " + inputs() + ", but must read one value");
                return input();
            case Kind::resize: need_ranks({3}); return {input()[0], operator_.size[0], operator_.size[1]};
            case Kind::concat: return joined();
            case Kind::flatten:
                need_ranks({3});
                if (input()[1] != 1 || input()[2] != 1) fail("flattens a map of several places, " + describe(input()));
                return {input()[0]};
            case Kind::rows:
                need_ranks({3});
                if (input()[0] % operator_.columns)
                    fail("makes rows of " + std::to_string(operator_.columns) + " from " + describe(input()));
                return {count(input()) / operator_.columns, operator_.columns};
            case Kind::places: {
                need_ranks({2});
                const std::int64_t places = std::int64_t{operator_.size[0]} * operator_.size[1];
                if (input()[0] % places) fail("makes a map of " + std::to_string(places) + " places from " + describe(input()));
                return {input()[0] / places * input()[1], operator_.size[0], operator_.size[1]};
            }
            case Kind::matmul: {
                need_ranks({2, 2});
                const std::int64_t inner = input(1)[operator_.transposed ? 1 : 0],
                                   columns = input(1)[operator_.transposed ? 0 : 1];
                if (inner != input()[1]) fail("multiplies " + inputs());
                return {input()[0], columns};
            }
            case Kind::softmax:
                if (operator_.inputs.size() != 1 || input().size() > 2) fail("needs one row or a table, but reads " + inputs());
                return input();
            case Kind::argmax: need_ranks({3}); return {input()[1], input()[2]};
            case Kind::boxes:
                need_ranks({2});
                if (input()[1] != 4 || tensor(operator_.anchors).shape != input())
                    fail("reads offsets " + inputs() + " for other anchors");
                if (tensor(operator_.anchors).number != Number::float32) fail("has anchors that are no 32-bit floats");
                return input();
            case Kind::nms: return suppressed();
        }
        fail("is of an unknown kind");
    }

    Shape joined() const {
        if (operator_.inputs.empty() || input().size() < 2) fail("joins " + inputs());
        Shape made = input();
        for (std::size_t i = 1; i < operator_.inputs.size(); ++i) {
            Shape other = input(i);
            if (other.size() != made.size()) fail("joins " + inputs());
            made[0] += other[0];
            other[0] = made[0];
            if (other != made) fail("joins " + inputs() + ", which differ in size");
        }
        return made;
    }

    Shape suppressed() const {
        need_ranks({2, 2});
        const std::int64_t classes = input(1)[1] - operator_.first;
        const Tensor& thresholds = tensor(operator_.thresholds);
        if (input()[1] != 4 || input(1)[0] != input()[0] || classes < 1 || thresholds.shape != Shape{classes} ||
            thresholds.number != Number::float32) {
            fail("reads boxes and scores " + inputs() + " and thresholds " + describe(thresholds.shape));
        }
        return {std::min<std::int64_t>(operator_.most, input()[0] * classes), 4};
    }

    // ---- integers

    void check_numbers() const {
        const Value& made = value(operator_.outputs[0]);
        bool all = true, any = made.quantized();
        for (std::size_t i = 0; i < operator_.inputs.size(); ++i) {
            const Value& read = value(operator_.inputs[i]);
            if (!read.quantized() && read.number != Number::float32) fail("reads indices, which nothing can compute with");
            all = all && read.quantized();
            any = any || read.quantized();
        }
        for (int output : operator_.outputs) {
            if (value(output).quantized() && output != operator_.outputs[0]) fail("makes boxes, which have no quantization");
        }
        if (!operator_.weight.empty()) check_weights(any);
        switch (operator_.kind) {
            case Kind::quantize:
                if (!made.quantized()) fail("quantizes, but what it makes has no quantization");
                return;
            case Kind::dequantize:
                if (made.quantized() || !all) fail("must read integers and make floats");
                return;
            case Kind::boxes:
            case Kind::nms:
                if (any) fail("computes boxes in floats; a dequantize is missing");
                return;
            case Kind::argmax:
                if (made.quantized()) fail("makes indices, which have no quantization");
                return;
            default: break;
        }
        if (!any) return;
        if (!made.quantized() || !all) fail("mixes integers and floats; a quantize or dequantize is missing");
        check_scales(made);
    }

    void check_weights(bool integers) const {
        const Tensor& weights = tensor(operator_.weight);
        const Number wanted = integers ? Number::int8 : Number::float32;
        if (weights.number != wanted || tensor(operator_.bias).number != (integers ? Number::int32 : Number::float32)) {
            fail(std::string("needs weights and biases in ") + (integers ? "int8 and int32" : "float32"));
        }
        const auto found = graph_.weight_quantization.find(operator_.weight);
        if ((found != graph_.weight_quantization.end()) != integers) fail("has weights that are not of the kind it reads");
        if (!integers) return;
        const std::size_t scales = found->second.scales.size();
        if (found->second.zero_point != 0 || (scales != 1 && scales != static_cast<std::size_t>(weights.shape[0]))) {
            fail("must have weights with one scale, or one for each output channel, and the zero point 0");
        }
    }

    void check_scales(const Value& made) const {
        const bool fuses = operator_.kind == Kind::activation || operator_.curve == Curve::linear ||
                           operator_.curve == Curve::relu || operator_.curve == Curve::relu6;
        if (!fuses) fail("fuses an activation that operators on integers cannot; it needs an operator of its own");
        const bool pools_window =
            operator_.kind == Kind::pool && (input()[1] != operator_.kernel[0] || input()[2] != operator_.kernel[1]);
        if (pools_window || operator_.kind == Kind::resize || operator_.kind == Kind::concat || renames(operator_.kind)) {
            for (int i : operator_.inputs) {
                if (value(i).quantization != made.quantization) fail("keeps the scale of what it reads, but makes another");
            }
        }
        const bool share =
            operator_.kind == Kind::softmax || (operator_.kind == Kind::activation && operator_.curve == Curve::sigmoid);
        if (share && made.quantization != Quantization{{1.0F / 256}, -128}) {
            fail("makes numbers from 0 to 1, whose scale must be 1/256 and whose zero point -128");
        }
        if (operator_.kind == Kind::matmul && operator_.factor != 1)
            fail("multiplies integers by a factor, which must be in the scales");
    }

    Graph& graph_;
    const Operator& operator_;
};

}  // namespace

int readers(const Graph& graph, int value) {
    const auto shares = [&](int other) { return graph.values[index(other)].source == value; };
    const auto outputs =
        std::count_if(graph.outputs.begin(), graph.outputs.end(), [&](const Output& output) { return shares(output.value); });
    const auto operators = std::count_if(graph.operators.begin(), graph.operators.end(), [&](const Operator& other) {
        return std::any_of(other.inputs.begin(), other.inputs.end(), shares);
    });
    return static_cast<int>(outputs + operators);
}

void show_small_maps(Graph& graph) {
    for (std::size_t i = 1; i < graph.operators.size(); ++i) {
        const Operator& large = graph.operators[i - 1];
        Operator& classes = graph.operators[i];
        if (large.kind != Kind::resize || classes.kind != Kind::argmax || classes.inputs != large.outputs) continue;
        if (readers(graph, large.outputs[0]) > 1 || graph.input(large).quantized()) continue;
        classes.inputs = large.inputs;
        classes.align_corners = large.align_corners;
    }
}

void infer_shapes(Graph& graph) {
    if (count(graph.values[0].shape) > most_numbers) throw GraphError("the image has too many numbers");
    for (const Operator& operation : graph.operators) Inference(graph, operation).apply();
}

}  // namespace mobilenets
