// The command line: `node main.js COMMAND [OPTIONS]`.

import "./polyfill.js";

import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

const USAGE = `A peer of the Lapis protocol, to test others with.

  main.js vectors SPEC                              check the test vectors in the folder protocol-spec
  main.js client --peer ADDRESS --genesis FILE      ask a node for everything, and verify it
  main.js announce --peer ADDRESS --archive FILE    tell a node without data of decided values
  main.js serve --archive FILE [--fault NAME] [--dial ADDRESS]
                                                    serve the chain in an archive without compression
  main.js verify ARCHIVE                            verify the chain in an archive, all but its proofs
`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    peer: { type: "string" },
    genesis: { type: "string" },
    archive: { type: "string" },
    fault: { type: "string" },
    dial: { type: "string" },
  },
});
const [command, file] = positionals;

if (command === "vectors" && file) {
  const { checkVectors } = await import("./vectors.js");
  process.exit((await checkVectors(file)) ? 0 : 1);
} else if (command === "client" && values.peer && values.genesis) {
  const { checkNode } = await import("./client.js");
  const { genesisFromJson } = await import("./genesis.js");
  const genesis = genesisFromJson(await readFile(values.genesis, "utf8"));
  process.exit((await checkNode(values.peer, genesis)) ? 0 : 1);
} else if (command === "announce" && values.peer && values.archive) {
  const { checkAnnouncements } = await import("./announce.js");
  process.exit((await checkAnnouncements(values.peer, values.archive)) ? 0 : 1);
} else if (command === "serve" && values.archive) {
  const { serve } = await import("./server.js");
  await serve(values.archive, values.fault, values.dial);
} else if (command === "verify" && file) {
  const { readArchive } = await import("./archive.js");
  readArchive(await readFile(file)).verify();
} else {
  process.stderr.write(USAGE);
  process.exit(2);
}
