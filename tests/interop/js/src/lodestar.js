// Lodestar's request/response package on a libp2p that is newer than the one it was written for.
//
// The package brings the framing, on both sides. Here are the protocol ids of Lapis, and streams in the shape that the
// package knows: their protocol under `stat`, and a `close` that is not waited for.

import { ContextBytesType, EncodedPayloadType, ReqResp, ReqRespEncoding } from "@lodestar/reqresp";

import { PREFIX, VERSION } from "./methods.js";

const MILLISECONDS = { dialTimeoutMs: 10_000, requestTimeoutMs: 10_000, ttfbTimeoutMs: 10_000, respTimeoutMs: 30_000 };
const NO_CONTEXT = /** @type {{type: ContextBytesType.Empty}} */ ({ type: ContextBytesType.Empty });

/**
 * What answers a request: the SSZ bytes of each item.
 *
 * @callback Answer
 * @param {any} request
 * @param {any} peer
 * @returns {AsyncIterable<Uint8Array>}
 */

/**
 * What becomes of the bytes that the package writes in answer to a request of one method: for servers with a fault.
 *
 * @callback Mangle
 * @param {AsyncIterable<Uint8Array>} written
 * @returns {AsyncIterable<Uint8Array>}
 */

/**
 * What is needed of libp2p.
 *
 * @typedef {object} Host
 * @property {(id: string, handler: (inbound: any) => void) => Promise<void>} handle
 * @property {(id: string) => Promise<void>} unhandle
 * @property {(peer: any, ids: string[], options: any) => Promise<any>} dialProtocol
 */

/** The package's own class, with its way to send requests opened. */
export class LapisReqResp extends ReqResp {
  /**
   * @param {Host} host
   * @param {Record<string, Mangle>} mangled  by method
   */
  constructor(host, mangled = {}) {
    const quiet = /** @type {any} */ ({ debug() {}, verbose() {}, info() {}, warn() {}, error() {} });
    const modules = { libp2p: /** @type {any} */ (adaptHost(host, mangled)), logger: quiet, metricsRegister: null };
    super(modules, { protocolPrefix: PREFIX, ...MILLISECONDS });
  }

  /**
   * Answers requests of `method` from now on. A method has to be served before it can be asked for.
   *
   * @param {import("./methods.js").Method} method
   * @param {Answer} answer
   */
  async serve(method, answer) {
    await this.registerProtocol(definition(method, answer));
  }

  /**
   * Asks `peer`. Gives the items of the response as they come. An error chunk is thrown.
   *
   * @param {any} peer
   * @param {string} method
   * @param {any} request
   * @returns {AsyncIterable<any>}
   */
  ask(peer, method, request) {
    return this.sendRequest(peer, method, [VERSION], ReqRespEncoding.SSZ_SNAPPY, request);
  }
}

/**
 * A method in the package's terms.
 *
 * @param {import("./methods.js").Method} method
 * @param {Answer} answer
 * @returns {import("@lodestar/reqresp").ProtocolDefinition<any, any>}
 */
function definition(method, answer) {
  return {
    method: method.name,
    version: VERSION,
    encoding: ReqRespEncoding.SSZ_SNAPPY,
    contextBytes: NO_CONTEXT,
    requestType: () => method.request,
    responseType: () => method.item,
    handler: async function* (asked, peer) {
      for await (const bytes of answer(asked, peer)) {
        yield { type: EncodedPayloadType.bytes, bytes, contextBytes: NO_CONTEXT };
      }
    },
  };
}

/**
 * @param {Host} host
 * @param {Record<string, Mangle>} mangled
 * @returns {Host}
 */
function adaptHost(host, mangled) {
  return {
    handle: (id, handler) => {
      const mangle = mangled[id.split("/")[3]];
      return host.handle(id, ({ connection, stream }) => handler({ connection, stream: adaptStream(stream, mangle) }));
    },
    unhandle: (id) => host.unhandle(id),
    dialProtocol: async (peer, ids, options) => adaptStream(await host.dialProtocol(peer, ids, options)),
  };
}

/**
 * @param {any} stream
 * @param {Mangle} [mangle]
 */
function adaptStream(stream, mangle) {
  return {
    stat: { protocol: stream.protocol },
    source: stream.source,
    sink: mangle ? (/** @type {any} */ written) => stream.sink(mangle(written)) : stream.sink,
    // Nobody waits for it, and a stream that is lost already needs no closing.
    close: () => void stream.close().catch(() => {}),
    abort: (/** @type {Error} */ error) => stream.abort(error),
  };
}
