/**
 * Post-conditions, judged on the events that a transaction emitted, as the node does it: what each principal sent or
 * burned of each asset is compared with its conditions, and in Deny mode nothing may be sent that no condition names.
 */

/**
 * @typedef {object} Condition
 * @property {string} principal
 * @property {string} asset `STX`, or `ADDRESS.contract::asset`
 * @property {number} code fungible: 1 equal, 2 greater, 3 greater or equal, 4 less, 5 less or equal; item: 16 sent,
 *   17 not sent, 18 may be sent
 * @property {string} [amount] of a fungible asset
 * @property {string} [item] of a non-fungible one, serialized, hex
 */

const comparisons = {
  1: (sent, named) => sent === named,
  2: (sent, named) => sent > named,
  3: (sent, named) => sent >= named,
  4: (sent, named) => sent < named,
  5: (sent, named) => sent <= named,
};
const itemRules = { 16: (sent) => sent, 17: (sent) => !sent, 18: () => true };

const FUNGIBLE = { stx_transfer_event: 'STX', stx_burn_event: 'STX', ft_transfer_event: null, ft_burn_event: null };
const ITEM = new Set(['nft_transfer_event', 'nft_burn_event']);

/** @param {string} hex */
const bare = (hex) => (hex.startsWith('0x') ? hex.slice(2) : hex);

/**
 * What was sent: amounts by `principal asset`, items by the same key.
 * @param {import('./clarity_session.mjs').VmEvent[]} events
 */
function sentBy(events) {
  /** @type {Map<string, bigint>} */ const amounts = new Map();
  /** @type {Map<string, Set<string>>} */ const items = new Map();
  for (const { type, data } of events) {
    if (type in FUNGIBLE) {
      const key = `${data.sender} ${FUNGIBLE[type] ?? data.asset_identifier}`;
      amounts.set(key, (amounts.get(key) ?? 0n) + BigInt(data.amount));
    } else if (ITEM.has(type)) {
      const key = `${data.sender} ${data.asset_identifier}`;
      if (!items.has(key)) items.set(key, new Set());
      items.get(key).add(bare(data.raw_value));
    }
  }
  return { amounts, items };
}

/**
 * @param {import('./clarity_session.mjs').VmEvent[]} events
 * @param {Condition[]} conditions
 * @param {"deny" | "allow"} mode
 * @returns {string | null} what was violated; null when all holds
 */
export function violation(events, conditions, mode) {
  const { amounts, items } = sentBy(events);
  const named = new Set();
  for (const { principal, asset, code, amount, item } of conditions) {
    const key = `${principal} ${asset}`;
    if (item === undefined) {
      const sent = amounts.get(key) ?? 0n;
      if (!comparisons[code](sent, BigInt(amount))) return `${principal} sent ${sent} of ${asset}`;
      named.add(key);
    } else {
      const sent = items.get(key)?.has(bare(item)) ?? false;
      if (!itemRules[code](sent)) return `${principal} ${sent ? 'sent' : 'did not send'} an item of ${asset}`;
      named.add(`${key} ${bare(item)}`);
    }
  }
  if (mode === 'allow') return null;
  for (const [key, sent] of amounts) if (sent > 0n && !named.has(key)) return `no condition names ${key}`;
  for (const [key, all] of items) {
    for (const item of all) if (!named.has(`${key} ${item}`)) return `no condition names an item of ${key}`;
  }
  return null;
}
