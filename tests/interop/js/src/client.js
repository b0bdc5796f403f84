// A node under test, asked by this peer: what it must answer, and what it must refuse.
//
// Nothing is taken for true: values are followed from the genesis by their certificates, payloads and blobs are held
// against the values. (KZG proofs are left to the peer in Python.) Where a case breaks the rules it does so as a new
// peer, since that costs the peer its reputation.

import { RequestErrorCode } from "@lodestar/reqresp";

import { Chain } from "./chain.js";
import { BlobSidecar, Genesis, PayloadEnvelope, ValidatorSet, Value, hex, sameBytes } from "./containers.js";
import { protocolId } from "./methods.js";
import { asNewcomer, ask, openSession, refusal, runCases } from "./session.js";
import { tipOfGenesis, verifyDecided, verifyPayload, versionedHash } from "./verify.js";

const RANGES = ["decided_values_by_range", "payloads_by_range", "blobs_by_range"];
const UNKNOWN = new Uint8Array(32).fill(0x5a);
const MAX_U64 = 2n ** 64n - 1n;
const ANOTHER_CHAIN = 2n;
const SHUTTING_DOWN = 1n;
const POLL_MILLISECONDS = 20;

/** @typedef {import("./session.js").Session} Session */

/**
 * @param {boolean} condition
 * @param {string} what
 */
function expect(condition, what) {
  if (!condition) {
    throw new Error(what);
  }
}

/**
 * @param {bigint} start
 * @param {bigint} count
 */
function heights(start, count) {
  return { start_height: start, count };
}

/** @type {Record<string, (session: Session) => Promise<string>>} */
const CASES = {
  async status(session) {
    const { status } = session;
    expect(sameBytes(status.genesis_id, Genesis.hashTreeRoot(session.genesis)), "another genesis id");
    expect(status.decided_height >= status.available_height && status.available_height >= 1n, "heights");
    const [again] = await ask(session, "status", new Chain(session.genesis).status());
    expect(again.decided_height >= status.decided_height, "fewer heights than before");
    return `${status.decided_height} heights`;
  },

  async ping(session) {
    for (const number of [0n, 1n, MAX_U64]) {
      expect((await ask(session, "ping", number)).length === 1, "no answer");
    }
    return "";
  },

  async "decided values by range, with their certificates"(session) {
    const { genesis, status, values } = session;
    let tip = tipOfGenesis(genesis);
    const sets = new Map([[hex(tip.nextValidatorsRoot), genesis.validators]]);
    for (const decided of await ask(session, "decided_values_by_range", heights(1n, status.decided_height))) {
      const root = hex(tip.nextValidatorsRoot);
      const set = sets.get(root) ?? (await validatorSet(session, tip.nextValidatorsRoot));
      sets.set(root, set);
      tip = verifyDecided(decided, tip, set, status.genesis_id, genesis.max_blobs_per_block);
      values.set(decided.value.height, decided.value);
    }
    expect(sameBytes(tip.valueId, status.decided_value_id), "the status names another value");
    return `${values.size} values, ${sets.size} sets`;
  },

  async "ranges longer than a response"(session) {
    for (const count of [128n, 129n, MAX_U64 - 1n]) {
      const items = await ask(session, "decided_values_by_range", heights(1n, count));
      expect(items.length === Math.min(128, session.values.size), `${items.length} items`);
    }
    return "";
  },

  async "validator sets by root"(session) {
    const named = new Set();
    for (const { validators_root, next_validators_root } of session.values.values()) {
      named.add(hex(validators_root)).add(hex(next_validators_root));
    }
    for (const root of named) {
      await validatorSet(session, Buffer.from(root, "hex"));
    }
    expect((await ask(session, "validator_set_by_root", UNKNOWN)).length === 0, "a set for an unknown root");
    return `${named.size} sets`;
  },

  async "payloads by range"(session) {
    const { earliest_payload_height: start, available_height: head } = session.status;
    const envelopes = await ask(session, "payloads_by_range", heights(start, head - start + 1n));
    let [height, bytes] = [start, 0];
    for (const envelope of envelopes) {
      verifyPayload(envelope, valueAt(session, height));
      bytes += PayloadEnvelope.serialize(envelope).length;
      height += 1n;
    }
    expect(height === head + 1n, `payloads end before ${height}`);
    return `${envelopes.length} payloads, ${bytes} bytes`;
  },

  async "payloads by root"(session) {
    const wanted = new Map();
    for (const [height, value] of session.values) {
      if (height >= session.status.earliest_payload_height) {
        wanted.set(hex(Value.hashTreeRoot(value)), value);
      }
    }
    const ids = [...wanted.keys()].map((id) => Buffer.from(id, "hex"));
    const envelopes = await ask(session, "payloads_by_root", [...ids.toReversed(), UNKNOWN, ...ids]);
    for (const envelope of envelopes) {
      const id = hex(envelope.value_id);
      expect(wanted.has(id), "a payload that was not asked for, or twice");
      verifyPayload(envelope, wanted.get(id));
      wanted.delete(id);
    }
    expect(wanted.size === 0, `${wanted.size} payloads are missing`);
    return `${envelopes.length} payloads`;
  },

  async "blobs by range"(session) {
    const { earliest_blob_height: start, available_height: head } = session.status;
    const sidecars = await ask(session, "blobs_by_range", heights(start, head - start + 1n));
    const got = sidecars.map(({ height, index, kzg_commitment }) => `${height}.${index} ${hex(kzg_commitment)}`);
    const places = [];
    for (let height = start; height <= head; height++) {
      const commitments = valueAt(session, height).blob_kzg_commitments;
      places.push(...commitments.map((commitment, index) => `${height}.${index} ${hex(commitment)}`));
    }
    expect(got.join() === places.join(), "other places or commitments, or another order");
    for (const { kzg_commitment, blob } of sidecars) {
      session.blobs.set(hex(versionedHash(kzg_commitment)), blob);
    }
    return `${sidecars.length} blobs`;
  },

  async "blobs by root"(session) {
    const hashes = [...session.blobs.keys()].map((hash) => Buffer.from(hash, "hex"));
    const sidecars = await ask(session, "blobs_by_root", [...hashes.toReversed(), UNKNOWN, ...hashes]);
    for (const sidecar of sidecars) {
      const blob = session.blobs.get(hex(versionedHash(sidecar.kzg_commitment)));
      expect(blob !== undefined && sameBytes(blob, sidecar.blob), "another blob than by range");
      expect(BlobSidecar.serialize(sidecar).length === BlobSidecar.minSize, "another length");
    }
    expect(sidecars.length === hashes.length, `${sidecars.length} of ${hashes.length} blobs`);
    return `${sidecars.length} blobs`;
  },

  async "nothing above the head"(session) {
    for (const method of RANGES) {
      for (const start of [session.status.decided_height + 1n, 2n ** 63n]) {
        expect((await ask(session, method, heights(start, 5n))).length === 0, `${method} from ${start}`);
      }
    }
    return "";
  },

  async "nothing for no roots and unknown ones"(session) {
    for (const method of ["payloads_by_root", "blobs_by_root"]) {
      for (const roots of [[], [UNKNOWN]]) {
        expect((await ask(session, method, roots)).length === 0, method);
      }
    }
    return "";
  },

  async "ranges below the floor"(session) {
    const { earliest_value_height, earliest_payload_height, earliest_blob_height } = session.status;
    const floors = [earliest_value_height, earliest_payload_height, earliest_blob_height];
    const told = [];
    for (const [i, method] of RANGES.entries()) {
      const floor = floors[i];
      if (floor <= 1n) {
        continue;
      }
      for (const range of [heights(floor - 1n, 1n), heights(1n, floor + 1n), heights(floor - 1n, 2n ** 40n)]) {
        const { code, text } = await refusal(session, method, range);
        expect(code === RequestErrorCode.RESOURCE_UNAVAILABLE, code);
        expect(text.includes(String(floor)), `no floor ${floor} in "${text}"`);
      }
      told.push(`${method} from ${floor}`);
    }
    return told.join() || "nothing is pruned";
  },

  async "illegal ranges"(session) {
    for (const method of RANGES) {
      await asNewcomer(session, async (other) => {
        for (const range of [heights(1n, 0n), heights(0n, 1n), heights(MAX_U64, 1n), heights(2n, MAX_U64 - 1n)]) {
          const { code } = await refusal(other, method, range);
          expect(code === RequestErrorCode.INVALID_REQUEST, `${method}: ${code}`);
        }
      });
    }
    return "";
  },

  async "many requests at once"(session) {
    /** @type {string[]} */
    const outcomes = [];
    await asNewcomer(session, async (other) => {
      const range = heights(session.status.earliest_blob_height, 128n);
      const all = Array.from({ length: 6 }, () => refusal(other, "blobs_by_range", range));
      outcomes.push(...(await Promise.all(all)).map(({ code }) => code));
      expect((await ask(other, "ping", 1n)).length === 1, "no ping afterwards");
    });
    const answered = outcomes.filter((code) => code.endsWith("items"));
    expect(answered.length >= 2 && new Set(answered).size === 1, outcomes.join());
    return `${answered.length} answered, ${outcomes.length - answered.length} refused`;
  },

  async goodbye(session) {
    await asNewcomer(session, async (other) => {
      expect((await ask(other, "goodbye", SHUTTING_DOWN)).length === 0, "an answer");
    });
    return "";
  },

  async "a method that there is not"(session) {
    const { peer, node } = session;
    const outcome = await peer.libp2p.dialProtocol(node, protocolId("everything")).catch((/** @type {any} */ e) => e.name);
    expect(outcome === "UnsupportedProtocolError", String(outcome));
    return "";
  },

  async "a peer of another chain"(session) {
    /** @type {bigint[]} */
    const reasons = [];
    const elsewhere = { ...session.genesis, genesis_time: session.genesis.genesis_time + 1n };
    const other = await openSession(session.address, elsewhere, { onGoodbye: (reason) => reasons.push(reason) });
    try {
      while (other.peer.libp2p.getConnections(other.node).length > 0) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
      }
    } finally {
      await other.peer.stop();
    }
    expect(reasons.join() === String(ANOTHER_CHAIN), `goodbye ${reasons}`);
    return "goodbye 2, disconnected";
  },
};

/**
 * The set with this root.
 *
 * @param {Session} session
 * @param {Uint8Array} root
 */
async function validatorSet(session, root) {
  const [set] = await ask(session, "validator_set_by_root", root);
  expect(set !== undefined && sameBytes(ValidatorSet.hashTreeRoot(set), root), "another set, or none");
  return set;
}

/**
 * @param {Session} session
 * @param {bigint} height
 */
function valueAt(session, height) {
  const value = session.values.get(height);
  if (value === undefined) {
    throw new Error(`no value at height ${height}`);
  }
  return value;
}

/**
 * Runs all cases against the node at `address`, and reports each. Whether all of them held.
 *
 * @param {string} address
 * @param {import("./containers.js").GenesisObject} genesis
 */
export async function checkNode(address, genesis) {
  const session = await openSession(address, genesis);
  return runCases(CASES, session, () => session.peer.stop());
}
