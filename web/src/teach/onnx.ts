/**
 * The classifier in an ONNX file: the linear layer that the logits come from. What it reads, the pooled features, can be made an
 * output of the network; and another layer can be put in its place.
 */

import { joined } from "../bytes";
import { field, type Field, fieldsOf, partsOf, textOf } from "./protobuf";

// Numbers of fields in onnx.proto.
const MODEL = { graph: 7, metadata: 14 } as const;
const GRAPH = { node: 1, initializer: 5, output: 12 } as const;
const NODE = { input: 1, output: 2, kind: 4, attribute: 5 } as const;
const ATTRIBUTE = { name: 1, integer: 3, type: 20 } as const;
const TENSOR = { dims: 1, type: 2, name: 8, raw: 9 } as const;
const VALUE = { name: 1, type: 2 } as const;
const TYPE = { tensor: 1 } as const;
const TENSOR_TYPE = { element: 1, shape: 2 } as const;
const SHAPE = { dim: 1 } as const;
const DIM = { value: 1 } as const;
const ENTRY = { key: 1, value: 2 } as const;
const FLOAT = 1;
const INTEGER_ATTRIBUTE = 2;

const LOGITS = "logits";
export const FEATURES = "features";
const MANIFEST = "mobilenets";

interface Node {
  readonly raw: Uint8Array;
  readonly kind: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

interface Head {
  readonly graph: readonly Field[];
  readonly nodes: readonly Node[];
  /** The linear layer, and what stands between it and the logits. */
  readonly layer: Node;
  readonly behind: readonly Node[];
}

/** What stands between the linear layer and the logits of a network in floats or in 8-bit integers. */
const PASSING = new Set(["Identity", "QuantizeLinear", "DequantizeLinear"]);

/** A linear layer. */
export interface Linear {
  /** One row for each class. */
  readonly weight: Float32Array;
  readonly bias: Float32Array;
}

/** The network with its pooled features as a further output; undefined where the logits come from no linear layer. */
export function withFeatures(model: Uint8Array): Uint8Array | undefined {
  const fields = fieldsOf(model);
  const head = headOf(fields);
  if (head === undefined) return undefined;
  const node = joined([field(NODE.input, head.layer.inputs[0]!), field(NODE.output, FEATURES), field(NODE.kind, "Identity")]);
  const type = field(TYPE.tensor, field(TENSOR_TYPE.element, FLOAT));
  const output = joined([field(VALUE.name, FEATURES), field(VALUE.type, type)]);
  return withGraph(fields, [...head.graph.map(({ raw }) => raw), field(GRAPH.node, node), field(GRAPH.output, output)]);
}

/**
 * The network with another linear layer for its logits.
 *
 * @param manifest of the new network, as JSON.
 */
export function withHead(model: Uint8Array, { weight, bias }: Linear, manifest: string): Uint8Array {
  const fields = fieldsOf(model);
  const head = headOf(fields);
  if (head === undefined) throw new Error("The network has no linear layer that could be replaced.");
  const { layer } = head;
  const removed = new Set([layer, ...head.behind]);
  const kept = head.nodes.filter((node) => !removed.has(node));
  const live = liveNodes(kept, layer.inputs[0]!);
  const read = new Set(live.flatMap(({ inputs }) => inputs));
  const [weightName, biasName] = [weightNameOf(layer, 1), weightNameOf(layer, 2)];
  const others = head.graph.filter(({ number, value }) => {
    if (number === GRAPH.node || number === GRAPH.output) return false;
    return number !== GRAPH.initializer || read.has(textOf(fieldsOf(value as Uint8Array), TENSOR.name));
  });
  const features = weight.length / bias.length;
  const graph = [
    ...live.map(({ raw }) => field(GRAPH.node, raw)),
    field(GRAPH.node, gemm(layer.inputs[0]!, weightName, biasName, layer.outputs[0]!)),
    field(GRAPH.node, joined([field(NODE.input, layer.outputs[0]!), field(NODE.output, LOGITS), field(NODE.kind, "Identity")])),
    ...others.map(({ raw }) => raw),
    field(GRAPH.initializer, tensor(weightName, [bias.length, features], weight)),
    field(GRAPH.initializer, tensor(biasName, [bias.length], bias)),
    field(GRAPH.output, logitsOf(head.graph, bias.length)),
  ];
  const described = fields.filter(({ number, value }) => number !== MODEL.metadata || textOf(fieldsOf(value as Uint8Array), ENTRY.key) !== MANIFEST);
  const entry = field(MODEL.metadata, joined([field(ENTRY.key, MANIFEST), field(ENTRY.value, manifest)]));
  return joined([withGraph(described, graph), entry]);
}

function headOf(model: readonly Field[]): Head | undefined {
  const [content] = partsOf(model, MODEL.graph);
  if (content === undefined) return undefined;
  const graph = fieldsOf(content);
  const nodes = partsOf(graph, GRAPH.node).map(nodeOf);
  const maker = new Map(nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  const behind: Node[] = [];
  let node = maker.get(LOGITS);
  while (node !== undefined && PASSING.has(node.kind)) {
    behind.push(node);
    node = maker.get(node.inputs[0]!);
  }
  return node?.kind === "Gemm" ? { graph, nodes, layer: node, behind } : undefined;
}

function nodeOf(raw: Uint8Array): Node {
  const fields = fieldsOf(raw);
  const names = (number: number): string[] => partsOf(fields, number).map((part) => new TextDecoder().decode(part));
  return { raw, kind: textOf(fields, NODE.kind), inputs: names(NODE.input), outputs: names(NODE.output) };
}

/** The nodes that a value depends on, in their order. */
function liveNodes(nodes: readonly Node[], value: string): Node[] {
  const wanted = new Set([value]);
  const live: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((output) => wanted.has(output))) continue;
    live.push(node);
    for (const input of node.inputs) wanted.add(input);
  }
  return live.reverse();
}

/** The name of the layer's weight or bias; in a quantized network that of what is made of it. */
function weightNameOf(layer: Node, place: 1 | 2): string {
  return layer.inputs[place] ?? `${layer.outputs[0]}.${place === 1 ? "weight" : "bias"}`;
}

function gemm(input: string, weight: string, bias: string, output: string): Uint8Array {
  const transposed = joined([field(ATTRIBUTE.name, "transB"), field(ATTRIBUTE.integer, 1), field(ATTRIBUTE.type, INTEGER_ATTRIBUTE)]);
  const inputs = [input, weight, bias].map((name) => field(NODE.input, name));
  return joined([...inputs, field(NODE.output, output), field(NODE.kind, "Gemm"), field(NODE.attribute, transposed)]);
}

function tensor(name: string, dims: readonly number[], values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, i) => view.setFloat32(4 * i, value, true));
  const sides = dims.map((side) => field(TENSOR.dims, side));
  return joined([...sides, field(TENSOR.type, FLOAT), field(TENSOR.name, name), field(TENSOR.raw, bytes)]);
}

/** The description of the logits, with the batch as it is in the file. */
function logitsOf(graph: readonly Field[], classes: number): Uint8Array {
  const value = partsOf(graph, GRAPH.output).find((part) => textOf(fieldsOf(part), VALUE.name) === LOGITS)!;
  const inner = (message: Uint8Array, number: number): Uint8Array => partsOf(fieldsOf(message), number)[0] ?? new Uint8Array();
  const shape = inner(inner(inner(value, VALUE.type), TYPE.tensor), TENSOR_TYPE.shape);
  const batch = field(SHAPE.dim, inner(shape, SHAPE.dim));
  const dims = joined([batch, field(SHAPE.dim, field(DIM.value, classes))]);
  const type = joined([field(TENSOR_TYPE.element, FLOAT), field(TENSOR_TYPE.shape, dims)]);
  return joined([field(VALUE.name, LOGITS), field(VALUE.type, field(TYPE.tensor, type))]);
}

function withGraph(model: readonly Field[], graph: readonly Uint8Array[]): Uint8Array {
  return joined(model.map(({ number, raw }) => (number === MODEL.graph ? field(MODEL.graph, joined(graph)) : raw)));
}
