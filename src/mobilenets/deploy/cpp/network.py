"""`network.hpp` and `network.cpp`: the interface, and the code that calls every step of the network."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mobilenets.deploy.cpp.outputs import Returned, kind_of, returned
from mobilenets.deploy.cpp.schedule import Schedule, Stage
from mobilenets.deploy.cpp.step import Step
from mobilenets.deploy.cpp.text import comment, real, record, text_literal, type_name
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.runtime.classify import temperature

_OPERATORS = ("boxes", "convolution", "depthwise", "elementwise", "image", "maps", "pool", "tables")
_WIDTH = 124  # characters per line
_ALIGNMENT = 64  # bytes; of the arena and of the memory after it


@dataclass(frozen=True, slots=True)
class Parts:
    """The input for writing a network's source.

    Args:
        graph: the network.
        schedule: the order of its rows, and their memory.
        steps: the C++ records of the operators that compute anything, by index.
        image: the steps that read an image from floats and from 8-bit pixels.
    """

    graph: Graph
    schedule: Schedule
    steps: dict[int, Step]
    image: tuple[Step, Step]

    @property
    def starts(self) -> dict[int, tuple[Step, Step]]:
        """The operators that read the image from the caller's memory, by index, each with its steps for floats and pixels."""
        stays, operators = self.schedule.image_stays, self.graph.operators
        return {i: self.image for i in self.steps if stays and operators[i].inputs == (INPUT,)}


_HEADER = """\
// {model}: {classes} classes, {precision}. Written by mobilenets; README.md says how it is built and what it needs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mobilenet {{

inline constexpr int height = {height}, width = {width}, channels = {channels};  // of the image
inline constexpr int classes = {classes};
extern const char* const labels[classes];
inline constexpr float temperature = {temperature};  // divides the logits of a classifier before softmax

inline constexpr std::size_t arena_bytes = {arena_bytes};  // of static memory that hold all values of a run
extern const std::size_t memory_bytes;  // with what operators need besides

/// What a run returns. It stays until the next run.
struct Outputs {{
{members}
}};

/// Calls `of(name, output)` for each output.
template <typename Of>
void each(const Outputs& outputs, const Of& of) {{
{calls}
}}

/// Clears the network's memory. Call it once before the first run.
void init();

/// Runs the network on an image: `height` rows of `width` pixels of `channels` bytes, resized as `contract.hpp` says. Only one
/// run may go on at a time.
Outputs run(const std::uint8_t* pixels);

/// The same for an image that is preprocessed: (pixel / 255 - mean) / std, in the same order.
Outputs run(const float* image);

}}  // namespace mobilenet
"""


def header(graph: Graph, arena_bytes: int) -> str:
    """`network.hpp`.

    Args:
        graph: the network.
        arena_bytes: size of the arena.
    """
    contract, manifest, about = graph.manifest.input, graph.manifest, kind_of(graph).about
    outputs = returned(graph)
    return _HEADER.format(
        model=comment(manifest.model),
        precision=manifest.precision,
        height=contract.shape[0],
        width=contract.shape[1],
        channels=contract.channels,
        classes=len(manifest.labels),
        temperature=real(temperature(manifest.head)),
        arena_bytes=arena_bytes,
        members="\n".join(f"    {_declared(output)};  // {about[output.name]}" for output in outputs),
        calls="\n".join(f'    of("{output.name}", outputs.{output.name});' for output in outputs),
    )


def source(parts: Parts) -> str:
    """`network.cpp`."""
    graph, schedule = parts.graph, parts.schedule
    lines = [
        f"// The schedule of {comment(graph.manifest.model)}: which operator computes which rows, and where values lie.",
        '#include "network.hpp"',
        "",
        '#include "mobilenets/kernels/direct.hpp"',
        *(f'#include "mobilenets/operators/{name}.hpp"' for name in _OPERATORS),
        '#include "mobilenets/simd/compiled.hpp"',
        '#include "weights.hpp"',
        "",
        "namespace mobilenet {",
        "namespace {",
        "",
        "using namespace mobilenets;",
        "",
        "constexpr Direct<simd::Compiled> kernels{};",
        "",
        "// ---- operators",
        *_records(parts),
        "",
        "// ---- memory",
        *_memory(parts),
        "",
        "// ---- the order of rows in blocks that are never whole: which operator computes its next row",
        *_orders(schedule),
        "",
        "// Once GCC 12 sees in the caller that a step reads and writes one array, it can take it for one that writes nothing.",
        "#ifdef __clang__",
        "#define APART [[gnu::noinline]]",
        "#else",
        "#define APART [[gnu::noipa]]",
        "#endif",
        "",
        "template <class Of>",
        "APART void step(const Of& of, const Rows* inputs, const Rows* outputs, Span rows, int panels) {",
        "    of.compute(kernels, Job{inputs, outputs, rows, {0, panels}, memory + scratch_at});",
        "}",
        *_begins(parts),
        "",
        "template <typename Numbers>",
        "const Numbers& as(const Rows& value) {",
        "    return *reinterpret_cast<const Numbers*>(value.start);",
        "}",
        "",
        "template <typename Number>",
        "Outputs computed(const Number* image) {",
        "    const auto* bytes = reinterpret_cast<const std::byte*>(image);",
        "    const Rows input{const_cast<std::byte*>(bytes), height, sizeof(Number) * width * channels};",
        *_stages(parts),
        f"    return {{{', '.join(_result(parts, output) for output in returned(graph))}}};",
        "}",
        "",
        "}  // namespace",
        "",
        "const char* const labels[classes] = {",
        *(f"    {text_literal(label)}," for label in graph.manifest.labels),
        "};",
        "",
        "const std::size_t memory_bytes = sizeof memory;",
        "",
        "void init() {",
        "    for (std::byte& byte : memory) byte = std::byte{0};",
        "}",
        "",
        "Outputs run(const std::uint8_t* pixels) { return computed(pixels); }",
        "",
        "Outputs run(const float* image) { return computed(image); }",
        "",
        "}  // namespace mobilenet",
        "",
    ]
    return "\n".join(lines)


def _declared(output: Returned) -> str:
    """The declaration of a member of `Outputs`."""
    return f"const {type_name(output.number)} (&{output.name}){output.extents}"


def _result(parts: Parts, output: Returned) -> str:
    return f"as<{type_name(output.number)}{output.extents}>(value_{_index(parts, output.value)})"


def _index(parts: Parts, value: str) -> int:
    return list(parts.schedule.places).index(value)


def _records(parts: Parts) -> Iterator[str]:
    for i, made in parts.steps.items():
        operator = parts.graph.operators[i]
        if i in parts.starts:
            yield from _image_records(parts)
            continue
        yield f"// {comment(operator.name)}"
        yield _wrapped(f"constexpr {made.kind} step_{i}{record(made.fields)};")
    if not parts.starts:
        yield from _image_records(parts)


def _image_records(parts: Parts) -> Iterator[str]:
    floats, pixels = parts.image
    yield f"constexpr {floats.kind} from_floats{record(floats.fields)};"
    yield f"constexpr {pixels.kind} from_pixels{record(pixels.fields)};"


def _memory(parts: Parts) -> Iterator[str]:
    scratch = [
        step.scratch.format(f"step_{i}") for i, step in parts.steps.items() if step.scratch != "0" and i not in parts.starts
    ]
    yield "constexpr std::size_t most(std::size_t so_far) { return so_far; }"
    yield "template <typename... Others>"
    yield "constexpr std::size_t most(std::size_t a, std::size_t b, Others... others) {"
    yield "    return most(larger(a, b), others...);"
    yield "}"
    yield f"constexpr std::size_t scratch_at = (arena_bytes + {_ALIGNMENT - 1}) / {_ALIGNMENT} * {_ALIGNMENT};"
    yield f"constexpr std::size_t scratch_bytes = most({', '.join(['0', *scratch])});"
    yield f"alignas({_ALIGNMENT}) std::byte memory[scratch_at + scratch_bytes + guard];"
    yield ""
    for i, (name, place) in enumerate(parts.schedule.places.items()):
        if name == INPUT and parts.schedule.image_stays:
            continue
        rows = f"{place.held} of {place.height} rows" if place.is_ring else f"{place.height} row{'s' * (place.height != 1)}"
        about = f"  // {comment(name)}: {rows} of {place.width} x {place.channels}"
        where = f"{{memory + {place.offset}, {place.held}, {place.row_bytes}}}"
        yield f"[[maybe_unused]] constexpr Rows value_{i}{where};{about}"
    for i, step in parts.steps.items():
        operator = parts.graph.operators[i]
        for which, names in (("reads", step.reads or operator.inputs), ("makes", operator.made)):
            if len(names) > 1:
                yield f"constexpr Rows {which}_{i}[] = {{{', '.join(f'value_{_index(parts, name)}' for name in names)}}};"


def _orders(schedule: Schedule) -> Iterator[str]:
    for n, stage in enumerate(schedule.stages):
        if not stage.is_whole:
            known = _operators(stage)
            order = ", ".join(str(known.index(i)) for i in stage.rows)
            yield _wrapped(f"constexpr std::uint8_t order_{n}[] = {{{order}}};")


def _wrapped(text: str) -> str:
    """A long line, wrapped."""
    return textwrap.fill(text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _operators(stage: Stage) -> list[int]:
    """The indices of a stage's operators, in order."""
    return sorted(set(stage.rows))


def _begins(parts: Parts) -> Iterator[str]:
    for number, way in (("float", "from_floats"), ("std::uint8_t", "from_pixels")):
        yield ""
        yield f"void begin(const {number}*, const Rows& input, const Rows& output, Span rows) {{"
        yield f"    step({way}, &input, &output, rows, 1);"
        yield "}"


def _stages(parts: Parts) -> Iterator[str]:
    if not parts.starts:
        yield f"    begin(image, input, value_{_index(parts, INPUT)}, {{0, height}});"
    for n, stage in enumerate(parts.schedule.stages):
        if stage.is_whole:
            [i] = stage.rows
            height = parts.schedule.places[parts.graph.operators[i].made[0]].height
            yield f"    {_call(parts, i, f'{{0, {height}}}')}"
            continue
        known = _operators(stage)
        yield "    {"
        yield f"        int next[{len(known)}] = {{}};"
        yield f"        for (const std::uint8_t i : order_{n}) {{"
        yield "            const Span rows{next[i], next[i] + 1};"
        yield "            next[i] += 1;"
        yield "            switch (i) {"
        for case, i in enumerate(known):
            yield f"                case {case}: {_call(parts, i, 'rows')} break;"
        yield "            }"
        yield "        }"
        yield "    }"


def _call(parts: Parts, i: int, rows: str) -> str:
    operator, made = parts.graph.operators[i], parts.steps[i]
    if i in parts.starts:
        return f"begin(image, input, value_{_index(parts, operator.output)}, {rows});"
    reads = made.reads or operator.inputs
    inputs = f"reads_{i}" if len(reads) > 1 else f"&value_{_index(parts, reads[0])}"
    outputs = f"makes_{i}" if len(operator.made) > 1 else f"&value_{_index(parts, operator.output)}"
    return f"step(step_{i}, {inputs}, {outputs}, {rows}, {made.panels});"


def declarations(arrays: Sequence[str]) -> str:
    """`weights.hpp`."""
    return "\n".join(
        [
            "// The network's constants.",
            "#pragma once",
            "",
            "#include <cstddef>",
            "#include <cstdint>",
            "",
            "namespace mobilenet {",
            "",
            *arrays,
            "",
            "}  // namespace mobilenet",
            "",
        ]
    )
