// What a hostile server does wrong: with its items, before Lodestar's package frames them, or with the bytes that the
// package writes.

import { ResponseError, RespStatus } from "@lodestar/reqresp";

import { BlobSidecar, DecidedValue, PayloadEnvelope, Status, Value } from "./containers.js";
import { METHODS } from "./methods.js";

const VALUES = ["decided_values_by_range"];
const PAYLOADS = ["payloads_by_range", "payloads_by_root"];
const BLOBS = ["blobs_by_range", "blobs_by_root"];
const MAX_U64 = 2n ** 64n - 1n;
const PADDING = Buffer.concat([Buffer.from("fe004000", "hex"), Buffer.alloc(0x4000)]);
// A zero, not compressed, with its checksum.
const FRAME_OF_ONE_BYTE = Buffer.from("01050000d28f254900", "hex");
const IDENTIFIER = Buffer.from("ff060000734e61507059", "hex");

/**
 * A fault, and the methods that it shows in. All others are answered honestly.
 *
 * @typedef {object} Fault
 * @property {string[]} methods
 * @property {(items: Iterable<Uint8Array>) => Iterable<Uint8Array> | AsyncIterable<Uint8Array>} [spoil]
 * @property {(method: string) => import("./lodestar.js").Mangle} [mangle]
 */

/**
 * Other items than the honest ones.
 *
 * @param {string[]} methods
 * @param {(items: Uint8Array[]) => Iterable<Uint8Array>} alter
 * @returns {Fault}
 */
function altered(methods, alter) {
  return { methods, spoil: (items) => alter([...items]) };
}

/**
 * Another first item than the honest one.
 *
 * @template T
 * @param {string[]} methods
 * @param {import("@chainsafe/ssz").Type<T>} type
 * @param {(item: T) => void} change
 */
function changed(methods, type, change) {
  return altered(methods, ([first, ...others]) => {
    if (first === undefined) {
      return [];
    }
    const item = type.deserialize(first);
    change(item);
    return [type.serialize(item), ...others];
  });
}

/**
 * An error chunk in place of everything.
 *
 * @param {RespStatus} status
 * @param {string} text
 * @returns {Fault}
 */
function refusing(status, text) {
  return {
    methods: [...PAYLOADS, ...BLOBS],
    spoil: () => {
      throw new ResponseError(/** @type {any} */ (status), text);
    },
  };
}

/**
 * Other bytes behind the result byte of the first chunk. The package writes result, length and frames one by one.
 *
 * @param {(method: string, length: Uint8Array, frames: AsyncIterator<Uint8Array>) => AsyncIterable<Uint8Array>} replace
 * @returns {Fault}
 */
function broken(replace) {
  /** @type {(method: string) => import("./lodestar.js").Mangle} */
  const mangle = (method) =>
    async function* (written) {
      const pieces = written[Symbol.asyncIterator]();
      const [result, length] = [await pieces.next(), await pieces.next()];
      if (!result.done && !length.done) {
        yield result.value;
        yield* replace(method, length.value, pieces);
      }
    };
  return { methods: BLOBS, mangle };
}

/** @param {Uint8Array[]} items */
function swapped([first, second, ...others]) {
  return [second, first, ...others].filter((item) => item !== undefined);
}

/** @param {Uint8Array} bytes */
function flipLast(bytes) {
  bytes[bytes.length - 1] ^= 1;
}

/** @param {number} number */
function varint(number) {
  const bytes = [];
  for (; number >= 0x80; number = Math.floor(number / 0x80)) {
    bytes.push((number % 0x80) | 0x80);
  }
  return Uint8Array.from([...bytes, number]);
}

/** @type {Record<string, Fault>} */
export const FAULTS = {
  // One bit of the first blob is another.
  "wrong-blob": changed(BLOBS, BlobSidecar, (sidecar) => flipLast(sidecar.blob)),

  // The proof is the commitment: a point of the group, but no proof.
  "wrong-proof": changed(BLOBS, BlobSidecar, (sidecar) => {
    sidecar.kzg_proof = sidecar.kzg_commitment;
  }),

  // The last byte of the first payload is another.
  "wrong-payload": changed(PAYLOADS, PayloadEnvelope, (envelope) => flipLast(envelope.payload)),

  // The first value is a second later, and the certificate names it. Nobody signed that.
  "forged-value": changed(VALUES, DecidedValue, ({ value, certificate }) => {
    value.timestamp += 1n;
    certificate.value_id = Value.hashTreeRoot(value);
  }),

  "values-out-of-order": altered(VALUES, swapped),
  "payloads-out-of-order": altered(["payloads_by_range"], swapped),
  "blobs-out-of-order": altered(["blobs_by_range"], swapped),

  // The last blob of the last height is missing.
  "half-a-height": altered(["blobs_by_range"], (items) => items.slice(0, -1)),

  // The end comes within the first chunk.
  truncated: broken(async function* (_, length, frames) {
    yield length;
    const identifier = await frames.next();
    const frame = await frames.next();
    yield identifier.value;
    yield frame.value.subarray(0, frame.value.length / 2);
  }),

  // A chunk says that it is a byte longer than its type can be.
  oversize: broken(async function* (method) {
    yield varint(METHODS[method].item.maxSize + 1);
    yield IDENTIFIER;
  }),

  // The frames of the first chunk hold a byte more than its length says.
  "too-long": broken(async function* (_, length, frames) {
    yield length;
    const identifier = await frames.next();
    yield identifier.value;
    yield FRAME_OF_ONE_BYTE;
    yield* { [Symbol.asyncIterator]: () => frames };
  }),

  // Frames that are skipped, without end, where the first chunk should be.
  padding: broken(async function* (_, length) {
    yield length;
    yield IDENTIFIER;
    for (;;) {
      yield PADDING;
    }
  }),

  // A right length, and then anything but frames.
  garbage: broken(async function* (_, length) {
    yield length;
    yield Buffer.from("not snappy at all");
  }),

  // Nothing, and no end.
  silent: {
    methods: BLOBS,
    // eslint-disable-next-line require-yield
    spoil: async function* () {
      await new Promise(() => {});
    },
  },

  // All that was asked for, and then the last item again and again.
  endless: {
    methods: BLOBS,
    spoil: async function* (items) {
      let last;
      for (last of items) {
        yield last;
      }
      while (last) {
        yield last;
      }
    },
  },

  // No chunk at all. That is allowed.
  empty: altered([...VALUES, ...PAYLOADS, ...BLOBS], () => []),

  unavailable: refusing(RespStatus.RESOURCE_UNAVAILABLE, "held from height 1000000"),
  "server-error": refusing(RespStatus.SERVER_ERROR, "the disk is on fire"),
  "rate-limited": refusing(RespStatus.RATE_LIMITED, "later"),

  // A status with another genesis.
  "another-chain": changed(["status"], Status, (status) => {
    status.genesis_id = new Uint8Array(32).fill(0x0f);
  }),

  // A status that claims every height there can be.
  "endless-claim": changed(["status"], Status, (status) => {
    status.decided_height = status.available_height = MAX_U64;
  }),
};
