// What this program tells others: one JSON object a line, on standard output.

/** @param {object} fields */
export function say(fields) {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}
