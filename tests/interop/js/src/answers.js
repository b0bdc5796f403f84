// Answers of an honest peer, out of a chain in memory: protocol-spec/spec/methods.md.

import { ResponseError, RespStatus } from "@lodestar/reqresp";

import { MAX_REQUEST_HEIGHTS, MAX_REQUEST_SIDECARS, hex } from "./containers.js";
import { METHODS } from "./methods.js";

const OVERFLOW = 1n << 64n;

/** @typedef {import("./chain.js").Chain} Chain */

/**
 * The SSZ bytes of the items in answer to `request`.
 *
 * @param {Chain} chain
 * @param {string} method
 * @param {any} request
 * @returns {Generator<Uint8Array>}
 */
export function* answer(chain, method, request) {
  for (const item of ANSWERS[method](chain, request)) {
    yield METHODS[method].item.serialize(item);
  }
}

/**
 * The name of the fault of a range, if it is illegal.
 *
 * @param {import("./containers.js").HeightRangeObject} range
 */
export function faultOfRange({ start_height: start, count }) {
  if (count === 0n) {
    return "Empty";
  }
  if (start === 0n) {
    return "StartsAtZero";
  }
  return start + count >= OVERFLOW ? "Overflow" : undefined;
}

/**
 * What is held of a range, at most as much as one response may have.
 *
 * @param {Chain} chain
 * @param {import("./containers.js").HeightRangeObject} range
 */
function* held(chain, range) {
  const fault = faultOfRange(range);
  if (fault) {
    throw new ResponseError(RespStatus.INVALID_REQUEST, fault);
  }
  const { start_height: start, count } = range;
  const cut = count < MAX_REQUEST_HEIGHTS ? count : BigInt(MAX_REQUEST_HEIGHTS);
  for (let height = start; height < start + cut; height++) {
    const record = chain.records.get(height);
    if (record === undefined) {
      return;
    }
    yield record;
  }
}

/**
 * Each root once, in the order in which they were asked for.
 *
 * @param {Uint8Array[]} roots
 */
function distinct(roots) {
  return new Set(roots.map(hex));
}

/** @type {Record<string, (chain: Chain, request: any) => Iterable<any>>} */
const ANSWERS = {
  status: (chain) => [chain.status()],
  ping: (_, number) => [number],
  goodbye: () => [],

  *decided_values_by_range(chain, range) {
    for (const { decided } of held(chain, range)) {
      yield decided;
    }
  },

  *validator_set_by_root(chain, root) {
    const set = chain.sets.get(hex(root));
    if (set) {
      yield set;
    }
  },

  *payloads_by_range(chain, range) {
    for (const { payload } of held(chain, range)) {
      yield payload;
    }
  },

  *payloads_by_root(chain, valueIds) {
    for (const id of distinct(valueIds)) {
      const record = chain.records.get(chain.heightOfValue.get(id) ?? 0n);
      if (record) {
        yield record.payload;
      }
    }
  },

  *blobs_by_range(chain, range) {
    let sent = 0;
    for (const { sidecars } of held(chain, range)) {
      sent += sidecars.length;
      if (sent > MAX_REQUEST_SIDECARS) {
        return;
      }
      yield* sidecars;
    }
  },

  *blobs_by_root(chain, hashes) {
    for (const hash of distinct(hashes)) {
      const sidecar = chain.sidecarOfHash.get(hash);
      if (sidecar) {
        yield sidecar;
      }
    }
  },
};
