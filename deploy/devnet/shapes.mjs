/** Transactions, events and blocks as the Stacks API shows them. Fields may be missing; none is invented. */
import { cvToString, deserializeCV } from '@stacks/transactions';

const iso = (seconds) => new Date(seconds * 1000).toISOString();
const hex = (text) => (text.startsWith('0x') ? text : `0x${text}`);

/** @type {Map<string, {hex: string, repr: string}>} values spelled lately: a list and its details show the same ones */
const spelled = new Map();
const SPELLED = 200_000;

/** Spells what a mined transaction printed and answered, as the API does when it takes a block in and not when asked.
 * @param {import('./chain.mjs').Entry} entry */
export function spell({ events, result }) {
  for (const { type, data } of events) if (type === 'print_event') clarityValue(data.raw_value);
  clarityValue(result);
}

/** @param {string} text serialized value, hex */
export function clarityValue(text) {
  let value = spelled.get(text);
  if (value === undefined) {
    value = { hex: hex(text), repr: cvToString(deserializeCV(text)) };
    if (spelled.size >= SPELLED) spelled.clear();
    spelled.set(text, value);
  }
  return value;
}

const assetEvents = {
  stx: ({ sender, recipient, amount, memo }) =>
    ['stx_asset', { sender: sender ?? '', recipient: recipient ?? '', amount, ...(memo ? { memo: hex(memo) } : {}) }],
  ft: ({ sender, recipient, amount, asset_identifier: assetId }) =>
    ['fungible_token_asset', { asset_id: assetId, sender: sender ?? '', recipient: recipient ?? '', amount }],
  nft: ({ sender, recipient, raw_value: value, asset_identifier: assetId }) => ['non_fungible_token_asset',
    { asset_id: assetId, sender: sender ?? '', recipient: recipient ?? '', value: clarityValue(value) }],
};

/** @param {import('./clarity_session.mjs').VmEvent} event @param {number} index @param {string} txid */
function eventShape({ type, data }, index, txid) {
  const common = { event_index: index, tx_id: hex(txid) };
  const [kind, action] = type.split('_');
  if (type === 'print_event') {
    const { contract_identifier: contractId, topic, raw_value: value } = data;
    const log = { contract_id: contractId, topic, value: clarityValue(value) };
    return { ...common, event_type: 'smart_contract_log', contract_log: log };
  }
  if (kind in assetEvents) {
    const [eventType, asset] = assetEvents[kind](data);
    return { ...common, event_type: eventType, asset: { asset_event_type: action, ...asset } };
  }
  return { ...common, event_type: type, data };
}

/** @param {import('./chain.mjs').Entry} entry @param {number} index @returns {object} one of its events */
export const eventShapeAt = (entry, index) => eventShape(entry.events[index], index, entry.tx.txid);

/** @param {import('./chain.mjs').Entry} entry @param {number} limit @returns {object[]} the first of its events */
const eventShapes = (entry, limit) => entry.events.slice(0, limit).map((_, index) => eventShapeAt(entry, index));

const conditionNames = {
  1: 'sent_equal_to', 2: 'sent_greater_than', 3: 'sent_greater_than_or_equal_to', 4: 'sent_less_than',
  5: 'sent_less_than_or_equal_to', 16: 'sent', 17: 'not_sent', 18: 'maybe_sent',
};

/** @param {import('./post_conditions.mjs').Condition} condition */
function conditionShape({ principal, asset, code, amount, item }) {
  const [address, name] = principal.split('.');
  const who = name === undefined ? { type_id: 'principal_standard', address }
    : { type_id: 'principal_contract', address, contract_name: name };
  const common = { principal: who, condition_code: conditionNames[code] };
  if (asset === 'STX') return { ...common, type: 'stx', amount };
  const [contract, assetName] = asset.split('::');
  const [contractAddress, contractName] = contract.split('.');
  const token = { contract_address: contractAddress, contract_name: contractName, asset_name: assetName };
  return item === undefined ? { ...common, type: 'fungible', asset: token, amount }
    : { ...common, type: 'non_fungible', asset: token, asset_value: clarityValue(item) };
}

/** @type {WeakMap<import('./transaction.mjs').Transaction, object>} what was signed never changes */
const bodies = new WeakMap();

/** @param {import('./transaction.mjs').Transaction} tx @param {import('./chain.mjs').Chain} chain */
function bodyShape(tx, chain) {
  if (!bodies.has(tx)) bodies.set(tx, freshBodyShape(tx, chain));
  return bodies.get(tx);
}

/** @param {import('./transaction.mjs').Transaction} tx @param {import('./chain.mjs').Chain} chain */
function freshBodyShape({ body, sender, wire }, chain) {
  if (body.kind === 'token_transfer') {
    const memo = hex(Buffer.from(body.memo, 'hex').toString('hex').padEnd(68, '0'));
    const transfer = { recipient_address: body.recipient, amount: body.amount, memo };
    return { tx_type: 'token_transfer', token_transfer: transfer };
  }
  if (body.kind === 'smart_contract') {
    const clarityVersion = wire.payload.clarityVersion ?? null;
    const contract = { clarity_version: clarityVersion, contract_id: `${sender}.${body.name}`, source_code: body.code };
    return { tx_type: 'smart_contract', smart_contract: contract };
  }
  const known = chain.contracts.get(body.contract)?.interface.functions.find(({ name }) => name === body.function);
  const args = body.args.map((value, at) => ({ ...clarityValue(value), name: known?.args[at]?.name ?? '' }));
  const call = { contract_id: body.contract, function_name: body.function, function_args: args };
  return { tx_type: 'contract_call', contract_call: call };
}

/** @param {Record<string, number> | null} costs */
const costShape = (costs) =>
  Object.fromEntries(Object.entries(costs ?? {}).map(([name, value]) => [`execution_cost_${name}`, value]));

/** @param {import('./chain.mjs').Entry} entry @param {import('./chain.mjs').Chain} chain */
function minedShape({ block, index, result, events, costs, error }, chain) {
  const burn = chain.burnBlockAt(block.burnHeight);
  return {
    block_hash: hex(block.hash),
    block_height: block.height,
    block_time: block.time,
    block_time_iso: iso(block.time),
    burn_block_height: burn.height,
    burn_block_time: burn.time,
    burn_block_time_iso: iso(burn.time),
    parent_block_hash: hex(block.parentHash),
    canonical: true,
    is_unanchored: false,
    microblock_canonical: true,
    tx_index: index,
    tx_result: clarityValue(result),
    event_count: events.length,
    vm_error: error,
    ...costShape(costs),
  };
}

/**
 * @param {import('./chain.mjs').Entry} entry @param {import('./chain.mjs').Chain} chain
 * @param {number} eventLimit how many events are shown with it
 */
export function transactionShape(entry, chain, eventLimit) {
  const { tx, status, receivedMs, block } = entry;
  const receivedSeconds = Math.floor(receivedMs / 1000);
  const common = {
    tx_id: hex(tx.txid),
    nonce: Number(tx.nonce),
    fee_rate: String(tx.fee),
    sender_address: tx.sender,
    sponsored: tx.sponsored,
    ...(tx.sponsored ? { sponsor_address: tx.payer, sponsor_nonce: Number(tx.payerNonce) } : {}),
    post_condition_mode: tx.mode,
    post_conditions: tx.conditions.map(conditionShape),
    anchor_mode: tx.anchorMode,
    tx_status: status,
    ...bodyShape(tx, chain),
  };
  if (block !== null) {
    return { ...common, ...minedShape(entry, chain), events: eventShapes(entry, eventLimit) };
  }
  const received = { receipt_time: receivedSeconds, receipt_time_iso: iso(receivedSeconds) };
  const replaced = entry.replacedBy === null ? {} : { replaced_by_tx_id: hex(entry.replacedBy) };
  return { ...common, ...received, ...replaced };
}

/** @param {import('./chain.mjs').StacksBlock} block @param {import('./chain.mjs').Chain} chain */
export function blockShape(block, chain) {
  const burn = chain.burnBlockAt(block.burnHeight);
  return {
    canonical: true,
    height: block.height,
    hash: hex(block.hash),
    block_time: block.time,
    block_time_iso: iso(block.time),
    tenure_height: block.burnHeight,
    index_block_hash: hex(block.indexHash),
    parent_block_hash: hex(block.parentHash),
    parent_index_block_hash: hex(block.parentIndexHash),
    burn_block_time: burn.time,
    burn_block_time_iso: iso(burn.time),
    burn_block_hash: hex(burn.hash),
    burn_block_height: burn.height,
    tx_count: block.entries.length,
  };
}

/** @param {import('./chain.mjs').BurnBlock} burn */
export function burnBlockShape({ height, hash, time, blocks }) {
  return {
    burn_block_time: time,
    burn_block_time_iso: iso(time),
    burn_block_hash: hex(hash),
    burn_block_height: height,
    stacks_blocks: blocks.map((block) => hex(block.hash)).reverse(),
    total_tx_count: blocks.reduce((sum, block) => sum + block.entries.length, 0),
  };
}
