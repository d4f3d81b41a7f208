/** Numbers that look random and are the same for the same seed and name: so that a fault can be had again. */
import { createHash } from 'node:crypto';

/**
 * The generator sfc32 (PractRand), started from a digest.
 * @param {number} seed @param {string} name a stream of its own for each purpose, so that none disturbs another
 * @returns {() => number} from 0 up to, not including, 1
 */
export function randomStream(seed, name) {
  const start = createHash('sha256').update(`${seed} ${name}`).digest();
  let [a, b, c, counter] = [0, 4, 8, 12].map((at) => start.readInt32LE(at));
  return () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum | 0;
    return (sum >>> 0) / 2 ** 32;
  };
}

/** The same items in another order. @template T @param {T[]} items @param {() => number} random @returns {T[]} */
export function shuffled(items, random) {
  const order = [...items];
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}
