// Reads a safetensors file into a checked `Graph`: first the container, then the operators in its header.
#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "errors.hpp"
#include "graph.hpp"
#include "json.hpp"

namespace mobilenets {
namespace {

constexpr int format = 1;
constexpr std::string_view scales_prefix = "scales/";
constexpr std::int64_t most_numbers = (std::int64_t{1} << 31) - 1;  // in one value or weight
constexpr std::size_t most_operators = 100'000;
constexpr std::int64_t largest_count = 1 << 24, largest_margin = 1 << 16;  // the ranges of `mobilenets.deploy.operators`

[[noreturn]] void fail(const std::string& problem) { throw GraphError(problem); }

/// A name for a message; long ones are truncated at a character boundary.
std::string quoted(std::string_view name) {
    constexpr std::size_t most = 200;
    std::size_t length = std::min(name.size(), most);
    while (length < name.size() && length > 0 && (static_cast<unsigned char>(name[length]) & 0xC0) == 0x80) --length;
    return "'" + std::string(name.substr(0, length)) + "'";
}

// ---- the container: eight bytes with the length of a JSON header, the header, and the numbers of all tensors

struct Container {
    Json header;
    std::span<const std::byte> numbers;
};

Container opened(std::span<const std::byte> bytes) {
    std::uint64_t length = 0;
    if (bytes.size() < sizeof length) fail("it is not a safetensors file: it is too short");
    for (int i = 7; i >= 0; --i) length = length << 8 | std::to_integer<std::uint64_t>(bytes[static_cast<std::size_t>(i)]);
    if (length > bytes.size() - sizeof length) fail("it is not a safetensors file: its header is longer than the file");
    const auto text = bytes.subspan(sizeof length, length);
    Json header = Json::parse({reinterpret_cast<const char*>(text.data()), text.size()});
    if (header.kind != Json::Kind::object) fail("it is not a safetensors file: its header is no object");
    return {std::move(header), bytes.subspan(sizeof length + length)};
}

Number number_of(const std::string& type, const std::string& name) {
    if (type == "F32") return Number::float32;
    if (type == "I8") return Number::int8;
    if (type == "I32") return Number::int32;
    fail("the tensor " + quoted(name) + " has numbers of type " + quoted(type) + "; F32, I8 and I32 are known");
}

std::int64_t whole_number(const Json& value, const std::string& what, std::int64_t low, std::int64_t high) {
    if (value.kind != Json::Kind::integer || value.integer < low || value.integer > high) {
        fail(what + " must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return value.integer;
}

Tensor tensor_of(const std::string& name, const Json& facts, std::span<const std::byte> numbers) {
    const std::string what = "the tensor " + quoted(name);
    const Json* type = facts.find("dtype");
    const Json* shape = facts.find("shape");
    const Json* offsets = facts.find("data_offsets");
    if (!type || type->kind != Json::Kind::text || !shape || shape->kind != Json::Kind::list || shape->items.size() > 8 ||
        !offsets || offsets->kind != Json::Kind::list || offsets->items.size() != 2) {
        fail(what + " needs a dtype, a shape and two data_offsets");
    }
    Tensor tensor{number_of(type->text, name), {}, nullptr};
    std::int64_t total = 1;
    for (const Json& side : shape->items) {
        tensor.shape.push_back(whole_number(side, "a side of " + what, 0, most_numbers));
        total *= tensor.shape.back();
        if (total > most_numbers) fail(what + " has too many numbers");
    }
    const auto size = static_cast<std::int64_t>(numbers.size());
    const std::int64_t begin = whole_number(offsets->items[0], "an offset of " + what, 0, size);
    const std::int64_t end = whole_number(offsets->items[1], "an offset of " + what, begin, size);
    if (end - begin != total * static_cast<std::int64_t>(bytes_of(tensor.number)))
        fail(what + " has another size than its shape says");
    tensor.data = numbers.data() + begin;
    return tensor;
}

void check_finite(const std::string& name, const Tensor& tensor) {
    if (tensor.number != Number::float32) return;
    for (float number : tensor.copied<float>()) {
        if (!std::isfinite(number)) fail("the weight " + quoted(name) + " is not finite");
    }
}

// ---- operators, each field checked for type and range

class Fields {
public:
    Fields(const Json& object, std::string what) : object_(object), what_(std::move(what)) {
        if (object.kind != Json::Kind::object) fail(what_ + " must be an object");
    }

    const Json* find(std::string_view name) {
        known_.insert(name);
        return object_.find(name);
    }
    const Json& need(std::string_view name) {
        const Json* value = find(name);
        if (!value) fail(what_ + " has no " + quoted(name));
        return *value;
    }
    std::string text(std::string_view name) {
        const Json& value = need(name);
        if (value.kind != Json::Kind::text) fail(about(name) + " must be a text");
        return value.text;
    }
    std::vector<std::string> texts(std::string_view name) {
        const Json& value = need(name);
        std::vector<std::string> made;
        if (value.kind != Json::Kind::list) fail(about(name) + " must be a list");
        for (const Json& item : value.items) {
            if (item.kind != Json::Kind::text) fail(about(name) + " must be a list of texts");
            made.push_back(item.text);
        }
        return made;
    }
    int integer(std::string_view name, std::int64_t low, std::int64_t high) {
        return static_cast<int>(whole_number(need(name), about(name), low, high));
    }
    template <std::size_t N>
    std::array<int, N> integers(std::string_view name, std::int64_t low, std::int64_t high) {
        std::array<int, N> made{};
        const Json& list = numbers(name, N);
        for (std::size_t i = 0; i < N; ++i) made[i] = static_cast<int>(whole_number(list.items[i], about(name), low, high));
        return made;
    }
    double real(std::string_view name) { return real_of(need(name), name); }
    template <std::size_t N>
    std::array<double, N> reals(std::string_view name) {
        std::array<double, N> made{};
        const Json& list = numbers(name, N);
        for (std::size_t i = 0; i < N; ++i) made[i] = real_of(list.items[i], name);
        return made;
    }
    bool boolean(std::string_view name) {
        const Json& value = need(name);
        if (value.kind != Json::Kind::boolean) fail(about(name) + " must be true or false");
        return value.boolean;
    }
    template <typename Names>
    int choice(std::string_view name, const Names& names) {
        const std::string value = text(name);
        const auto found = std::find(names.begin(), names.end(), value);
        if (found == names.end()) fail(about(name) + " is " + quoted(value) + ", which is unknown");
        return static_cast<int>(found - names.begin());
    }
    void refuse_others() const {
        for (const auto& [name, value] : object_.fields) {
            if (!known_.contains(name)) fail(what_ + " has the unknown field " + quoted(name));
        }
    }

private:
    std::string about(std::string_view name) const { return quoted(name) + " of " + what_; }
    const Json& numbers(std::string_view name, std::size_t wanted) {
        const Json& value = need(name);
        if (value.kind != Json::Kind::list || value.items.size() != wanted) {
            fail(about(name) + " must be " + std::to_string(wanted) + " numbers");
        }
        return value;
    }
    double real_of(const Json& value, std::string_view name) const {
        if (value.kind != Json::Kind::integer && value.kind != Json::Kind::real) fail(about(name) + " must be a number");
        return value.real;
    }

    const Json& object_;
    std::string what_;
    std::set<std::string_view> known_;
};

void read_weighted(Fields& fields, Operator& made) {
    made.weight = fields.text("weight");
    made.bias = fields.text("bias");
    made.curve = static_cast<Curve>(fields.choice("activation", curve_names));
}

void read_window(Fields& fields, Operator& made) {
    read_weighted(fields, made);
    made.stride = fields.integers<2>("stride", 1, largest_count);
    made.dilation = fields.integers<2>("dilation", 1, largest_count);
    made.padding = fields.integers<4>("padding", 0, largest_margin);
}

void read_attributes(Fields& fields, Operator& made) {
    switch (made.kind) {
        case Kind::conv:
        case Kind::depthwise: read_window(fields, made); break;
        case Kind::dense: read_weighted(fields, made); break;
        case Kind::add: made.curve = static_cast<Curve>(fields.choice("activation", curve_names)); break;
        case Kind::pool:
            made.kernel = fields.integers<2>("kernel", 1, largest_count);
            made.stride = fields.integers<2>("stride", 1, largest_count);
            break;
        case Kind::activation:
            made.curve = static_cast<Curve>(fields.choice("kind", curve_names));
            if (made.curve == Curve::linear) fail(quoted(made.name) + " is an activation that changes nothing");
            break;
        case Kind::resize:
            made.size = fields.integers<2>("size", 1, largest_count);
            made.align_corners = fields.choice("coordinates", std::array{"half_pixel", "align_corners"}) == 1;
            break;
        case Kind::rows: made.columns = fields.integer("columns", 1, largest_count); break;
        case Kind::places: made.size = fields.integers<2>("size", 1, largest_count); break;
        case Kind::matmul:
            made.transposed = fields.boolean("transposed");
            made.factor = fields.real("factor");
            break;
        case Kind::boxes:
            made.anchors = fields.text("anchors");
            made.variances = fields.reals<4>("variances");
            made.size = fields.integers<2>("size", 1, largest_count);
            break;
        case Kind::nms:
            made.thresholds = fields.text("thresholds");
            made.first = fields.integer("first", 0, 1);
            made.iou = fields.real("iou");
            if (!(made.iou >= 0 && made.iou <= 1)) fail("'iou' of " + quoted(made.name) + " must be 0 to 1");
            made.candidates = fields.integer("candidates", 1, largest_count);
            made.most = fields.integer("most", 1, largest_count);
            break;
        default: break;  // no fields of their own
    }
}

using Names = std::map<std::string, int>;  // of values, to their indices

int add_value(Graph& graph, Names& names, const std::string& name, const std::string& maker) {
    const int index = static_cast<int>(graph.values.size());
    if (!names.emplace(name, index).second) fail(quoted(name) + " is made twice, the second time by " + quoted(maker));
    graph.values.push_back({.name = name, .shape = {}, .source = index, .quantization = {}});
    return index;
}

void read_operator(const Json& object, Graph& graph, Names& values, std::set<std::string>& taken) {
    Fields fields(object, "operator " + std::to_string(graph.operators.size()));
    Operator made;
    made.kind = static_cast<Kind>(fields.choice("operator", kind_names));
    made.name = fields.text("name");
    made.block = fields.integer("block", -1, largest_count);
    const std::string output = fields.text("output");
    if (made.name.empty() || output.empty()) fail("an operator or what it makes has an empty name");
    if (!taken.insert(made.name).second) fail("two operators are called " + quoted(made.name));
    for (const std::string& name : fields.texts("inputs")) {
        const auto found = values.find(name);
        if (found == values.end()) fail(quoted(made.name) + " reads " + quoted(name) + ", which nothing before it makes");
        made.inputs.push_back(found->second);
    }
    read_attributes(fields, made);
    fields.refuse_others();
    if (made.kind == Kind::nms) {
        for (const char* part : {".boxes", ".scores", ".classes"}) {
            made.outputs.push_back(add_value(graph, values, output + part, made.name));
        }
    } else {
        made.outputs.push_back(add_value(graph, values, output, made.name));
    }
    graph.operators.push_back(std::move(made));
}

Quantization quantization_of(const std::string& name, const Json& zero_point, std::map<std::string, Tensor>& tensors) {
    const auto found = tensors.find(std::string(scales_prefix) + name);
    if (found == tensors.end() || found->second.number != Number::float32 || found->second.shape.size() != 1 ||
        found->second.shape[0] < 1) {
        fail("the scales of " + quoted(name) + " must be a list of 32-bit floats");
    }
    Quantization made{found->second.copied<float>(),
                      static_cast<int>(whole_number(zero_point, "the zero point of " + quoted(name), -128, 127))};
    for (float scale : made.scales) {
        if (!(scale > 0 && std::isfinite(scale))) fail("a scale of " + quoted(name) + " is not positive and finite");
    }
    tensors.erase(found);
    return made;
}

void read_quantization(const Json& zero_points, Graph& graph, const Names& values) {
    if (zero_points.kind != Json::Kind::object) fail("'zero_points' must be an object");
    for (const auto& [name, zero_point] : zero_points.fields) {
        Quantization made = quantization_of(name, zero_point, graph.tensors);
        const auto value = values.find(name);
        if (value == values.end()) {
            if (!graph.tensors.contains(name))
                fail("there is a quantization of " + quoted(name) + ", which is no value or weight");
            graph.weight_quantization[name] = std::move(made);
        } else {
            if (made.scales.size() != 1) fail("the value " + quoted(name) + " has several scales, but a value has one");
            if (graph.tensors.contains(name)) fail(quoted(name) + " is both a value and a weight");
            Value& quantized = graph.values[static_cast<std::size_t>(value->second)];
            quantized.quantization = std::move(made);
            quantized.number = Number::int8;
        }
    }
}

void read_operators(const Json& written, Graph& graph) {
    Fields fields(written, "the graph");
    if (fields.integer("format", 0, largest_count) != format) fail("it has another format than 1, which this version reads");
    const Json& operators = fields.need("operators");
    if (operators.kind != Json::Kind::list || operators.items.empty() || operators.items.size() > most_operators) {
        fail("'operators' must be a list of 1 to 100,000 operators");
    }
    Names values;
    std::set<std::string> taken;
    add_value(graph, values, "image", "the graph");
    for (const Json& object : operators.items) read_operator(object, graph, values, taken);
    if (const Json* zero_points = fields.find("zero_points")) read_quantization(*zero_points, graph, values);
    const Json& outputs = fields.need("outputs");
    if (outputs.kind != Json::Kind::object || outputs.fields.empty()) fail("the graph has no output");
    for (const auto& [name, value] : outputs.fields) {
        const auto found = value.kind == Json::Kind::text ? values.find(value.text) : values.end();
        if (name.empty() || found == values.end()) fail("the output " + quoted(name) + " is nothing that the graph makes");
        for (const Output& other : graph.outputs) {
            if (other.name == name) fail("two outputs are called " + quoted(name));
        }
        graph.outputs.push_back({name, found->second});
    }
    fields.refuse_others();
}

/// The input's shape from the manifest: channels, and `size` high and, unless `wide` says otherwise, as wide.
Shape input_shape(const std::string& manifest) {
    const Json data = Json::parse(manifest);
    const Json* contract = data.kind == Json::Kind::object ? data.find("input") : nullptr;
    if (!contract) fail("its manifest has no 'input'");
    Fields fields(*contract, "the manifest's 'input'");
    const std::int64_t height = fields.integer("size", 1, 1 << 16);
    const Json* wide = fields.find("wide");
    const Json* channels = fields.find("channels");
    const std::int64_t width = wide ? whole_number(*wide, "'wide' of the manifest's 'input'", 0, 1 << 16) : 0;
    return {channels ? whole_number(*channels, "'channels' of the manifest's 'input'", 1, 1 << 16) : 3, height,
            width ? width : height};
}

/// The precision that the manifest requests.
std::string precision_of(const std::string& manifest) {
    const Json data = Json::parse(manifest);
    const Json* precision = data.find("precision");
    return precision && precision->kind == Json::Kind::text ? precision->text : "float32";
}

}  // namespace

std::int64_t count(const Shape& shape) {
    std::int64_t total = 1;
    for (std::int64_t side : shape) total *= side;
    return total;
}

std::string describe(const Shape& shape) {
    std::string text;
    for (std::int64_t side : shape) text += (text.empty() ? "" : " x ") + std::to_string(side);
    return text.empty() ? "nothing" : text;
}

Graph read_graph(FileBytes file) {
    Graph graph;
    graph.file = std::move(file);
    const Container container = opened(graph.file.bytes);
    std::string operators;
    for (const auto& [name, facts] : container.header.fields) {
        if (name != "__metadata__") {
            graph.tensors.insert_or_assign(name, tensor_of(name, facts, container.numbers));
            continue;
        }
        for (const auto& [key, text] : facts.fields) {
            if (key == "graph") operators = text.text;
            if (key == "mobilenets") graph.manifest = text.text;
        }
    }
    if (operators.empty() || graph.manifest.empty()) fail("it has no 'graph' or no 'mobilenets' in its header");
    for (const auto& [name, tensor] : graph.tensors) check_finite(name, tensor);
    read_operators(Json::parse(operators), graph);
    graph.values[0].shape = input_shape(graph.manifest);
    graph.precision = precision_of(graph.manifest);
    infer_shapes(graph);
    return graph;
}

}  // namespace mobilenets
