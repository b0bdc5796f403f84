// Announcements of decided values by gossipsub: protocol-spec/spec/announcements.md.

import { gossipsub } from "@chainsafe/libp2p-gossipsub";
import { compress, uncompress } from "snappyjs";

import { DecidedValue, hex } from "./containers.js";
import { sha256 } from "./verify.js";

const MESSAGE_ID_BYTES = 20;

/** @param {Uint8Array} genesisId */
export function topicOf(genesisId) {
  return `/lapis/${hex(genesisId.subarray(0, 4))}/decided_value/ssz_snappy`;
}

/**
 * Gossip without signatures and numbers. Messages are snappy blocks on the wire, and SSZ to whoever uses it.
 *
 * @param {{compressed: boolean}} [options]  what is published is sent as it is if it is not to be compressed
 */
export function gossip({ compressed } = { compressed: true }) {
  return gossipsub({
    globalSignaturePolicy: "StrictNoSign",
    msgIdFn: ({ topic, data }) => sha256(Buffer.from(topic), data).slice(0, MESSAGE_ID_BYTES),
    dataTransform: {
      // The length is in front of the block. The bound is held against it before anything is allocated.
      inboundTransform: (_, block) => uncompress(block, DecidedValue.maxSize),
      outboundTransform: (_, ssz) => (compressed ? compress(ssz) : ssz),
    },
  });
}
