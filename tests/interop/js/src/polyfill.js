// js-libp2p uses `Promise.withResolvers`, which Node has from version 22 on. Imported before anything else.

const promise = /** @type {any} */ (Promise);

promise.withResolvers ??= () => {
  /** @type {any} */
  let resolve;
  /** @type {any} */
  let reject;
  const made = new Promise((one, other) => {
    resolve = one;
    reject = other;
  });
  return { promise: made, resolve, reject };
};
