// A connection to a node under test, and what is known about the node.

import { answer } from "./answers.js";
import { Chain } from "./chain.js";
import { METHODS } from "./methods.js";
import { openPeer } from "./peer.js";
import { say } from "./report.js";
import { greet } from "./server.js";

const CASE_SECONDS = 30;

/**
 * What is known about the node so far. Each case may add to it.
 *
 * @typedef {object} Session
 * @property {string} address
 * @property {import("./containers.js").GenesisObject} genesis
 * @property {import("./peer.js").Peer} peer
 * @property {any} node
 * @property {import("./containers.js").StatusObject} status
 * @property {Map<bigint, import("./containers.js").ValueObject>} values
 * @property {Map<string, Uint8Array>} blobs
 */

/**
 * A peer with nothing to serve, that has greeted the node.
 *
 * @param {string} address
 * @param {import("./containers.js").GenesisObject} genesis
 * @param {import("./peer.js").Extras & {onGoodbye?: (reason: bigint) => void}} [extras]
 * @returns {Promise<Session>}
 */
export async function openSession(address, genesis, { onGoodbye, ...extras } = {}) {
  const peer = await openPeer(extras);
  const nothing = new Chain(genesis);
  for (const method of Object.values(METHODS)) {
    await peer.reqresp.serve(method, async function* (request) {
      if (method.name === "goodbye") {
        onGoodbye?.(request);
      }
      yield* answer(nothing, method.name, request);
    });
  }
  const { node, status } = await greet(peer, address, nothing);
  return { address, genesis, peer, node, status, values: new Map(), blobs: new Map() };
}

/**
 * The same node, as a peer that it has never seen meets it.
 *
 * @param {Session} session
 * @param {(other: Session) => Promise<void>} meet
 */
export async function asNewcomer(session, meet) {
  const other = await openSession(session.address, session.genesis);
  try {
    await meet(other);
  } finally {
    await other.peer.stop();
  }
}

/**
 * All items of a response that has no error chunk.
 *
 * @param {Session} session
 * @param {string} method
 * @param {any} request
 */
export async function ask({ peer, node }, method, request) {
  /** @type {any[]} */
  const items = [];
  for await (const item of peer.reqresp.ask(node, method, request)) {
    items.push(item);
  }
  return items;
}

/**
 * The code and the text of the error chunk in answer to a request.
 *
 * @param {Session} session
 * @param {string} method
 * @param {any} request
 * @returns {Promise<{code: string, text: string}>}
 */
export async function refusal(session, method, request) {
  try {
    const items = await ask(session, method, request);
    return { code: `${items.length} items`, text: "" };
  } catch (error) {
    const { type } = /** @type {any} */ (error);
    return { code: type?.code ?? String(error), text: type?.errorMessage ?? "" };
  }
}

/**
 * Runs cases, one after the other, and reports each. Whether all of them held.
 *
 * @template T
 * @param {Record<string, (stage: T) => Promise<string>>} cases
 * @param {T} stage
 * @param {() => Promise<void>} close
 */
export async function runCases(cases, stage, close) {
  let held = true;
  for (const [name, run] of Object.entries(cases)) {
    const started = performance.now();
    const [ok, detail] = await within(CASE_SECONDS, run(stage));
    say({ case: name, ok, detail, seconds: Math.round(performance.now() - started) / 1000 });
    held &&= ok;
  }
  await close();
  return held;
}

/**
 * @param {number} seconds
 * @param {Promise<string>} running
 * @returns {Promise<[boolean, string]>}
 */
async function within(seconds, running) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${seconds} s`)), seconds * 1000);
  });
  try {
    return [true, await Promise.race([running, late])];
  } catch (error) {
    return [false, String(error)];
  } finally {
    clearTimeout(timer);
  }
}
