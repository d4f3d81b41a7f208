/** The paths of the Stacks API: /extended/... */
import { HttpError, notFound } from './http.mjs';
import { principal } from './routes_node.mjs';
import { blockShape, burnBlockShape, eventShapeAt, transactionShape } from './shapes.mjs';

const BLOCKS_LIMIT = [20, 30];
const TRANSACTIONS_LIMIT = [20, 50];
const EVENTS_LIMIT = [96, 100];
const NO_TRANSACTION = { error: 'could not find transaction by ID' };

/** @typedef {import('./producer.mjs').Producer} Producer @typedef {import('./http.mjs').Request} Request */

/** A page of `total` items; `at(i)` gives the i-th. @param {Request} request @param {number[]} limits */
function page(request, limits, total, at) {
  const limit = request.number('limit', limits[0], limits[1]);
  const offset = request.number('offset', 0);
  const results = [];
  for (let index = offset; index < Math.min(total, offset + limit); index += 1) results.push(at(index));
  return { limit, offset, total, results };
}

/** Newest first. */
const newest = (list, shape) => (index) => shape(list[list.length - 1 - index]);

/** A block by height, hash or "latest". @returns {any} throws HttpError */
function find(text, { latest, at, byHash }) {
  const found = text === 'latest' ? latest : /^\d+$/.test(text) ? at(Number(text)) : byHash(text.replace(/^0x/, ''));
  if (found === undefined) throw notFound('Block not found');
  return found;
}

/** @param {import('./chain.mjs').Chain} chain @param {string} text */
const blockBy = (chain, text) => find(text, {
  latest: chain.tip, at: (height) => chain.blockAt(height), byHash: (hash) => chain.blocksByHash.get(hash),
});
const burnBlockBy = (chain, text) => find(text, {
  latest: chain.burnTip, at: (height) => chain.burnBlockAt(height), byHash: (hash) => chain.burnBlocksByHash.get(hash),
});

/** @param {Producer} producer */
function status({ chain: { tip } }) {
  const chainTip = {
    block_height: tip.height, block_hash: `0x${tip.hash}`, index_block_hash: `0x${tip.indexHash}`,
    burn_block_height: tip.burnHeight,
  };
  return { server_version: 'bithedge-devnet', status: 'ready', chain_tip: chainTip };
}

/** @param {Producer} producer @param {(nonce: number) => number} lie @param {Request} request */
function nonces({ chain, mempool }, lie, request) {
  const address = principal(request.params[0]);
  const next = Number(chain.account(address).nonce);
  const waiting = mempool.noncesOf(address).map(Number);
  const last = waiting.length === 0 ? null : waiting[waiting.length - 1];
  const missing = [];
  for (let nonce = next; last !== null && nonce < last; nonce += 1) if (!waiting.includes(nonce)) missing.push(nonce);
  return {
    last_mempool_tx_nonce: last,
    last_executed_tx_nonce: lie(next) === 0 ? null : lie(next) - 1,
    possible_next_nonce: lie(last === null ? next : Math.max(next, last + 1)),
    detected_missing_nonces: missing.reverse(),
    detected_mempool_nonces: waiting.reverse(),
  };
}

/** @param {Producer} producer @param {Request} request */
function balances({ chain }, request) {
  const owner = principal(request.params[0]);
  const { fees } = chain.account(owner);
  const shape = ({ balance, sent, received }) => ({
    balance: String(balance), total_sent: String(sent), total_received: String(received),
  });
  const stx = shape(chain.balances.holding(owner, 'STX'));
  const fungible = chain.balances.tokens(owner, false).map(([asset, held]) => [asset, shape(held)]);
  const items = chain.balances.tokens(owner, true).map(([asset, { balance, ...held }]) =>
    [asset, { count: String(balance), total_sent: String(held.sent), total_received: String(held.received) }]);
  return {
    stx: { ...stx, total_fees_sent: String(fees), locked: '0' },
    fungible_tokens: Object.fromEntries(fungible),
    non_fungible_tokens: Object.fromEntries(items),
  };
}

/** @param {Producer} producer @param {string} text */
const entryOf = ({ chain }, text) => chain.entries.get(text.replace(/^0x/, ''));

/** @param {Producer} producer @param {Request} request */
function transaction(producer, request) {
  const entry = entryOf(producer, request.params[0]);
  if (entry === undefined) throw new HttpError(404, NO_TRANSACTION);
  const limit = request.number('event_limit', ...EVENTS_LIMIT);
  return transactionShape(entry, producer.chain, limit);
}

/** @param {Producer} producer @param {Request} request */
function transactions(producer, request) {
  const limit = request.number('event_limit', ...EVENTS_LIMIT);
  const ids = request.query.getAll('tx_id').flatMap((text) => text.split(',')).filter((text) => text !== '');
  const found = ids.map((id) => {
    const entry = entryOf(producer, id);
    return entry === undefined
      ? [id, { found: false, result: { ...NO_TRANSACTION, tx_id: id } }]
      : [id, { found: true, result: transactionShape(entry, producer.chain, limit) }];
  });
  return Object.fromEntries(found);
}

/** @param {Producer} producer @param {Request} request */
function events(producer, request) {
  const id = request.query.get('tx_id');
  if (id === null) throw new HttpError(400, { error: 'tx_id is needed' });
  const entry = entryOf(producer, id);
  const shape = (index) => eventShapeAt(entry, index);
  const { limit, offset, results } = page(request, EVENTS_LIMIT, entry?.events.length ?? 0, shape);
  return { limit, offset, events: results };
}

/** @param {Producer} producer @param {import('./faults.mjs').Faults} faults @returns {import('./http.mjs').Route[]} */
export function extendedRoutes(producer, faults) {
  const { chain } = producer;
  const block = (one) => blockShape(one, chain);
  const blockTransactions = (request) => {
    const { entries } = blockBy(chain, request.params[0]);
    const shape = (index) => transactionShape(entries[index], chain, 0);
    return page(request, TRANSACTIONS_LIMIT, entries.length, shape);
  };
  return [
    ['GET', /^\/extended(?:\/v1\/status)?$/, () => status(producer)],
    ['GET', /^\/extended\/v1\/address\/([^/]+)\/nonces$/,
      (request) => nonces(producer, faults.nonceLie(), request)],
    ['GET', /^\/extended\/v1\/address\/([^/]+)\/balances$/, (request) => balances(producer, request)],
    ['GET', /^\/extended\/v2\/blocks$/, (request) =>
      page(request, BLOCKS_LIMIT, chain.blocks.length, newest(chain.blocks, block))],
    ['GET', /^\/extended\/v2\/blocks\/([^/]+)$/, (request) => block(blockBy(chain, request.params[0]))],
    ['GET', /^\/extended\/v2\/blocks\/([^/]+)\/transactions$/, blockTransactions],
    ['GET', /^\/extended\/v1\/tx\/multiple$/, (request) => transactions(producer, request)],
    ['GET', /^\/extended\/v1\/tx\/events$/, (request) => events(producer, request)],
    ['GET', /^\/extended\/v1\/tx\/([^/]+)$/, (request) => transaction(producer, request)],
    ['GET', /^\/extended\/v2\/burn-blocks$/, (request) =>
      page(request, BLOCKS_LIMIT, chain.burnBlocks.length, newest(chain.burnBlocks, burnBlockShape))],
    ['GET', /^\/extended\/v2\/burn-blocks\/([^/]+)$/, (request) =>
      burnBlockShape(burnBlockBy(chain, request.params[0]))],
  ];
}
