// A node that has nothing yet hears of decided values, from a peer that serves none: it must take those that are
// certified, pass on those and no others, and charge who sends something else.

import { readFile } from "node:fs/promises";

import { readArchive } from "./archive.js";
import { Chain } from "./chain.js";
import { DecidedValue, hex } from "./containers.js";
import { gossip, topicOf } from "./gossip.js";
import { openSession, runCases } from "./session.js";

const POLL_MILLISECONDS = 20;

/** @typedef {import("./session.js").Session} Session */

/**
 * The node, and two peers of it.
 *
 * @typedef {object} Stage
 * @property {Chain} chain
 * @property {string} address
 * @property {string} topic
 * @property {Session} publisher
 * @property {Session} listener
 * @property {string[]} heard  what the listener was sent, in hex
 */

/** @type {Record<string, (stage: Stage) => Promise<string>>} */
const CASES = {
  async "announced values are taken and passed on"(stage) {
    for (const height of [1n, 2n, 3n]) {
      await publish(stage.publisher, stage.topic, decidedAt(stage, height));
      await until(async () => (await decidedHeight(stage)) === height);
      await until(async () => stage.heard.includes(hex(decidedAt(stage, height))));
    }
    return "3 heights";
  },

  async "an old value is not passed on"(stage) {
    const old = DecidedValue.deserialize(decidedAt(stage, 2n));
    old.certificate.signatures.reverse();
    await publish(stage.publisher, stage.topic, DecidedValue.serialize(old));
    await expectNothingButNext(stage, 4n);
    return "";
  },

  async "a value that is not certified is not passed on"(stage) {
    const forged = DecidedValue.deserialize(decidedAt(stage, 5n));
    forged.certificate.signatures[0].signature[63] ^= 1;
    await publishAsNewcomer(stage, DecidedValue.serialize(forged), true);
    await expectNothingButNext(stage, 5n);
    return "";
  },

  async "what is no value is not passed on"(stage) {
    await publishAsNewcomer(stage, Buffer.from("not a snappy block"), false);
    await expectNothingButNext(stage, 6n);
    return "";
  },

  async "a certified value further ahead is passed on"(stage) {
    const ahead = decidedAt(stage, stage.chain.head);
    await publish(stage.publisher, stage.topic, ahead);
    await until(async () => stage.heard.includes(hex(ahead)));
    return "";
  },
};

/**
 * Runs all cases against the node at `address`, which has to be of the chain in `archive` and to hold none of it.
 *
 * @param {string} address
 * @param {string} archive
 */
export async function checkAnnouncements(address, archive) {
  const chain = readArchive(await readFile(archive));
  const topic = topicOf(chain.genesisId);
  const [publisher, listener] = [await join(address, chain, topic, true), await join(address, chain, topic, true)];
  /** @type {string[]} */
  const heard = [];
  pubsub(listener).addEventListener("message", (/** @type {any} */ event) => heard.push(hex(event.detail.data)));
  // Only who is in the mesh is sent what others publish.
  await until(async () => pubsub(listener).getMeshPeers(topic).includes(listener.node.toString()));
  return runCases(CASES, { chain, address, topic, publisher, listener, heard }, async () => {
    await publisher.peer.stop();
    await listener.peer.stop();
  });
}

/**
 * A peer that serves nothing and takes part in the gossip, once the node knows of it.
 *
 * @param {string} address
 * @param {Chain} chain
 * @param {string} topic
 * @param {boolean} compressed
 */
async function join(address, chain, topic, compressed) {
  const session = await openSession(address, chain.genesis, { services: { pubsub: gossip({ compressed }) } });
  pubsub(session).subscribe(topic);
  const node = session.node.toString();
  // It has said that it listens, and there is a stream on which to tell it something.
  await until(async () => pubsub(session).getSubscribers(topic).some((/** @type {any} */ id) => id.toString() === node));
  await until(async () => pubsub(session).streamsOutbound.has(node));
  return session;
}

/** @param {Session} session */
function pubsub(session) {
  return session.peer.libp2p.services.pubsub;
}

/**
 * @param {Session} session
 * @param {string} topic
 * @param {Uint8Array} data
 */
async function publish(session, topic, data) {
  const { recipients } = await pubsub(session).publish(topic, data);
  if (!recipients.some((/** @type {any} */ id) => id.equals(session.node))) {
    throw new Error("the node was not sent the message");
  }
}

/**
 * Publishes what costs a peer its reputation, and waits until the node has hung up.
 *
 * @param {Stage} stage
 * @param {Uint8Array} data
 * @param {boolean} compressed
 */
async function publishAsNewcomer({ address, chain, topic }, data, compressed) {
  const session = await join(address, chain, topic, compressed);
  try {
    await publish(session, topic, data);
    await until(async () => session.peer.libp2p.getConnections(session.node).length === 0);
  } finally {
    await session.peer.stop();
  }
}

/**
 * Publishes the next height. When the listener has it, it must have had this height and those below it, nothing else.
 *
 * @param {Stage} stage
 * @param {bigint} next
 */
async function expectNothingButNext(stage, next) {
  await publish(stage.publisher, stage.topic, decidedAt(stage, next));
  await until(async () => stage.heard.includes(hex(decidedAt(stage, next))));
  const passedOn = stage.heard.map((data) => {
    const { value } = DecidedValue.deserialize(Buffer.from(data, "hex"));
    return data === hex(decidedAt(stage, value.height)) ? value.height : `another ${value.height}`;
  });
  const expected = Array.from({ length: Number(next) }, (_, i) => i + 1);
  if (passedOn.join() !== expected.join()) {
    throw new Error(`passed on: ${passedOn}`);
  }
}

/**
 * The SSZ bytes of a decided value of the chain.
 *
 * @param {Stage} stage
 * @param {bigint} height
 */
function decidedAt({ chain }, height) {
  return DecidedValue.serialize(/** @type {any} */ (chain.records.get(height)).decided);
}

/** @param {Stage} stage */
async function decidedHeight({ listener, chain }) {
  for await (const status of listener.peer.reqresp.ask(listener.node, "status", new Chain(chain.genesis).status())) {
    return status.decided_height;
  }
}

/** @param {() => Promise<boolean>} condition */
async function until(condition) {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
}
