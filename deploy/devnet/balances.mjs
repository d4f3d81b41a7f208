/** Who holds what, kept from the events that transactions emit, so that reads need no VM. */

export const STX = 'STX';

/** @typedef {{balance: bigint, sent: bigint, received: bigint}} Holding */

/** The asset and the amount that an event moves, and whose; null for an event that moves nothing. */
function movement({ type, data }) {
  const [asset, action] = type.split('_');
  if (!['transfer', 'mint', 'burn'].includes(action)) return null;
  const from = action === 'mint' ? undefined : data.sender;
  const to = action === 'burn' ? undefined : data.recipient;
  if (asset === 'stx') return { asset: STX, amount: BigInt(data.amount), from, to, items: false };
  if (asset === 'ft') return { asset: data.asset_identifier, amount: BigInt(data.amount), from, to, items: false };
  if (asset === 'nft') return { asset: data.asset_identifier, amount: 1n, from, to, items: true };
  return null;
}

export class Balances {
  /** @type {Map<string, Map<string, Holding>>} by principal, then asset */
  #holdings = new Map();
  /** @type {Set<string>} the assets that are single items */
  #items = new Set();

  /** @param {string} principal @param {string} asset @returns {Holding} */
  holding(principal, asset) {
    return this.#holdings.get(principal)?.get(asset) ?? { balance: 0n, sent: 0n, received: 0n };
  }

  /** Tokens other than STX. @param {string} principal @param {boolean} items single items, or fungible ones */
  tokens(principal, items) {
    const own = [...(this.#holdings.get(principal) ?? [])];
    return own.filter(([asset]) => asset !== STX && this.#items.has(asset) === items);
  }

  #change(principal, asset, sent, received) {
    if (!this.#holdings.has(principal)) this.#holdings.set(principal, new Map());
    const before = this.holding(principal, asset);
    const after = {
      balance: before.balance + received - sent, sent: before.sent + sent, received: before.received + received,
    };
    const own = this.#holdings.get(principal);
    if (after.sent === 0n && after.received === 0n) own.delete(asset);
    else own.set(asset, after);
  }

  /** @param {string | undefined} from undefined: made @param {string | undefined} to undefined: burned */
  move(asset, amount, from, to) {
    if (from !== undefined) this.#change(from, asset, amount, 0n);
    if (to !== undefined) this.#change(to, asset, 0n, amount);
  }

  /** @param {import('./clarity_session.mjs').VmEvent[]} events @param {1n | -1n} [sign] -1: they never happened */
  apply(events, sign = 1n) {
    for (const event of events) {
      const moved = movement(event);
      if (moved === null) continue;
      if (moved.items) this.#items.add(moved.asset);
      this.move(moved.asset, sign * moved.amount, moved.from, moved.to);
    }
  }
}
