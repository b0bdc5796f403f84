// Lodestar's reader, fed with the bytes of a vector in place of a stream.
//
// The bytes come one by one: where a read holds the end of a chunk and the beginning of the next, the package takes
// both for one. (That is why a writer has to send each chunk by itself.)

import { RequestErrorCode } from "@lodestar/reqresp";

import { LapisReqResp } from "./lodestar.js";
import { protocolId } from "./methods.js";

/**
 * The vectors that Lodestar's reader takes for right, by what it does not look at. A writer whose bytes are these would
 * be served by Lodestar and refused by Lapis.
 */
export const LETS_PASS = new Set([
  // what follows a request
  "a byte after the request",
  "padding after the request",
  "byte after the payload",
  "padding after the payload",
  "frame after an empty payload",
  // what follows an error chunk
  "a chunk after an error",
  "chunk after an error chunk",
  // a second identifier
  "a second identifier",
  "second identifier",
  // checksums
  "a wrong checksum",
  "checksum with one bit wrong",
  "checksum not masked",
  "compressed frame of other data",
]);

/**
 * The right vectors that Lodestar's reader refuses. A writer has to avoid them if Lodestar is to read it: no skippable
 * frames but padding, no empty request without an identifier, no empty item at all.
 */
export const CANNOT_READ = new Set([
  "skippable frames before the data",
  "skippable frames of the first and last type",
  "empty payload without identifier",
  "empty chunks with and without identifier",
]);

const ANYBODY = { toString: () => "a peer that wrote a vector" };

/**
 * A method whose requests and items are bytes within bounds.
 *
 * @param {number} minSize
 * @param {number} maxSize
 * @returns {import("./methods.js").Method}
 */
export function rawMethod(minSize, maxSize) {
  const raw = /** @type {any} */ ({
    minSize,
    maxSize,
    serialize: (/** @type {Uint8Array} */ bytes) => bytes,
    deserialize: (/** @type {any} */ bytes) => bytes.slice(),
    equals: Object.is,
  });
  return { name: "raw", request: raw, item: raw, mostItems: Infinity };
}

/**
 * The request in `wire`, if Lodestar takes it for one.
 *
 * @param {import("./methods.js").Method} method
 * @param {Uint8Array} wire
 * @returns {Promise<{request: any}>}
 */
export async function readRequest(method, wire) {
  /** @type {any} */
  let handle;
  /** @type {any} */
  let request;
  const reqresp = new LapisReqResp({
    handle: async (_, handler) => void (handle = handler),
    unhandle: async () => {},
    dialProtocol: async () => undefined,
  });
  await reqresp.serve(method, async function* (asked) {
    request = asked;
    yield* [];
  });
  await handle({ connection: { remotePeer: ANYBODY }, stream: streamOf(method, wire) });
  return { request };
}

/**
 * What Lodestar makes of the response in `wire`: the items, the result of an error chunk, or how it fails.
 *
 * @param {import("./methods.js").Method} method
 * @param {Uint8Array} wire
 * @returns {Promise<{items: Uint8Array[], refusal?: number, fault?: string}>}
 */
export async function readResponse(method, wire) {
  const reqresp = new LapisReqResp({
    handle: async () => {},
    unhandle: async () => {},
    dialProtocol: async () => streamOf(method, wire),
  });
  await reqresp.serve(method, async function* () {});
  /** @type {Uint8Array[]} */
  const items = [];
  try {
    for await (const item of reqresp.ask(ANYBODY, method.name, new Uint8Array(method.request.minSize))) {
      items.push(item);
    }
    return { items };
  } catch (error) {
    const { type } = /** @type {any} */ (error);
    const refusal = RESULTS[type?.code] ?? type?.status;
    return refusal === undefined ? { items, fault: type?.code ?? String(error) } : { items, refusal };
  }
}

/** @type {Record<string, number>} */
const RESULTS = {
  [RequestErrorCode.INVALID_REQUEST]: 1,
  [RequestErrorCode.SERVER_ERROR]: 2,
  [RequestErrorCode.RESOURCE_UNAVAILABLE]: 3,
};

/**
 * A stream on which `wire` comes, and whatever is written is forgotten.
 *
 * @param {import("./methods.js").Method} method
 * @param {Uint8Array} wire
 */
function streamOf(method, wire) {
  return {
    protocol: protocolId(method.name),
    source: (async function* () {
      for (let i = 0; i < wire.length; i++) {
        yield wire.subarray(i, i + 1);
      }
    })(),
    sink: async (/** @type {AsyncIterable<Uint8Array>} */ written) => {
      for await (const _ of written);
    },
    close: async () => {},
    abort: () => {},
  };
}
