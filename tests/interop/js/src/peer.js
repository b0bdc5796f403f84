// A libp2p host that speaks the protocol.

import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { identify } from "@libp2p/identify";
import { tcp } from "@libp2p/tcp";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";

import { LapisReqResp } from "./lodestar.js";

// By default js-libp2p takes five new connections a second from one address, and here all come from one.
const INBOUND_CONNECTIONS_PER_SECOND = 100;

/**
 * @typedef {object} Peer
 * @property {any} libp2p
 * @property {LapisReqResp} reqresp
 * @property {string} address  where others reach this peer
 * @property {(address: string) => Promise<any>} connect  dials, and gives the id of who is there
 * @property {() => Promise<void>} stop
 */

/**
 * What a peer may have beside the protocol's methods.
 *
 * @typedef {object} Extras
 * @property {Record<string, import("./lodestar.js").Mangle>} [mangled]
 * @property {Record<string, any>} [services]  of libp2p
 */

/**
 * A peer with a new key, listening on a free TCP port of this machine.
 *
 * @param {Extras} [extras]
 * @returns {Promise<Peer>}
 */
export async function openPeer({ mangled, services } = {}) {
  const libp2p = await createLibp2p({
    addresses: { listen: ["/ip4/127.0.0.1/tcp/0"] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { inboundConnectionThreshold: INBOUND_CONNECTIONS_PER_SECOND },
    services: { identify: identify(), ...services },
  });
  const reqresp = new LapisReqResp(/** @type {any} */ (libp2p), mangled);
  await reqresp.start();
  return {
    libp2p,
    reqresp,
    address: libp2p.getMultiaddrs()[0].toString(),
    connect: async (address) => (await libp2p.dial(multiaddr(address))).remotePeer,
    stop: async () => {
      await reqresp.stop();
      await libp2p.stop();
    },
  };
}
