/** Protocol Buffers at the level of the wire: fields with their numbers, which is all that editing an ONNX file needs. */

import { joined } from "../bytes";

const VARINT = 0;
const SIXTY_FOUR = 1;
const BYTES = 2;
const THIRTY_TWO = 5;

/** One field of a message. */
export interface Field {
  readonly number: number;
  /** A number, or the content of a string, of bytes, or of a message. */
  readonly value: number | Uint8Array;
  /** The field as it lies in the message, its number included. */
  readonly raw: Uint8Array;
}

/** The fields of a message in their order. */
export function fieldsOf(message: Uint8Array): Field[] {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; at < message.length; factor *= 128) {
      const byte = message[at++]!;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new Error("The network's file ends in the middle of a number.");
  };
  while (at < message.length) {
    const start = at;
    const key = varint();
    const number = Math.floor(key / 8);
    let value: number | Uint8Array;
    switch (key % 8) {
      case VARINT:
        value = varint();
        break;
      case SIXTY_FOUR:
        value = view.getFloat64(at, true);
        at += 8;
        break;
      case BYTES: {
        const length = varint();
        value = message.subarray(at, at + length);
        at += length;
        break;
      }
      case THIRTY_TWO:
        value = view.getFloat32(at, true);
        at += 4;
        break;
      default:
        throw new Error(`The network's file has a field of an unknown kind, ${key % 8}.`);
    }
    if (at > message.length) throw new Error("The network's file ends in the middle of a field.");
    fields.push({ number, value, raw: message.subarray(start, at) });
  }
  return fields;
}

/** A field that holds a number, a text, bytes or a message. */
export function field(number: number, value: number | string | Uint8Array): Uint8Array {
  if (typeof value === "number") return joined([varintOf(number * 8 + VARINT), varintOf(value)]);
  const content = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return joined([varintOf(number * 8 + BYTES), varintOf(content.length), content]);
}

/** The text of the first field of this number; "" where there is none. */
export function textOf(fields: readonly Field[], number: number): string {
  const found = fields.find((each) => each.number === number)?.value;
  return found instanceof Uint8Array ? new TextDecoder().decode(found) : "";
}

/** The contents of all fields of this number that hold bytes. */
export function partsOf(fields: readonly Field[], number: number): Uint8Array[] {
  return fields.flatMap(({ number: own, value }) => (own === number && value instanceof Uint8Array ? [value] : []));
}

function varintOf(value: number): Uint8Array {
  const bytes: number[] = [];
  while (value >= 128) {
    bytes.push((value % 128) + 128);
    value = Math.floor(value / 128);
  }
  bytes.push(value);
  return Uint8Array.from(bytes);
}
