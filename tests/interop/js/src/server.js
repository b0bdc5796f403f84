// A peer that serves a chain, honestly or not.

import { readFile } from "node:fs/promises";

import { answer } from "./answers.js";
import { readArchive } from "./archive.js";
import { FAULTS } from "./faults.js";
import { METHODS } from "./methods.js";
import { openPeer } from "./peer.js";
import { say } from "./report.js";

/**
 * Serves the chain in `archive` until it is stopped. Reports its address first, then each request.
 *
 * With `dial` it connects to a node, so that this node has it as a peer without having been told of it.
 *
 * @param {string} archive
 * @param {string} [fault]
 * @param {string} [dial]
 */
export async function serve(archive, fault, dial) {
  const chain = readArchive(await readFile(archive));
  const { methods, spoil, mangle } = fault ? FAULTS[fault] : { methods: [] };
  const mangled = mangle ? Object.fromEntries(methods.map((method) => [method, mangle(method)])) : {};
  const peer = await openPeer({ mangled });
  for (const method of Object.values(METHODS)) {
    const spoiled = methods.includes(method.name);
    await peer.reqresp.serve(method, async function* (request, requester) {
      say({ request: method.name, peer: requester.toString(), spoiled });
      const items = answer(chain, method.name, request);
      yield* spoil && spoiled ? spoil(items) : items;
    });
  }
  say({ listening: peer.address });
  if (dial) {
    await greet(peer, dial, chain);
  }
}

/**
 * Connects, and says at once what this peer has: the side that dials has to.
 *
 * @param {import("./peer.js").Peer} peer
 * @param {string} address
 * @param {import("./chain.js").Chain} chain
 */
export async function greet(peer, address, chain) {
  const node = await peer.connect(address);
  for await (const status of peer.reqresp.ask(node, "status", chain.status())) {
    say({ greeted: node.toString() });
    return { node, status };
  }
  throw new Error("no status in answer");
}
