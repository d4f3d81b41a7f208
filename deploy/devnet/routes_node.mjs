/** The paths of a Stacks node: /v2/... */
import { validateStacksAddress } from '@stacks/transactions';
import { amountHex, Rejection } from './rejection.mjs';
import { HttpError, notFound } from './http.mjs';
import { CHAIN_ID, txidOf } from './transaction.mjs';
import { VmBusy, VmRefusal } from './vm_client.mjs';

const NAME = '([A-Za-z][A-Za-z0-9-_]*)';
const FUNCTION = '([^/]+)';

/** @param {string} text @returns {string} throws HttpError */
export function principal(text) {
  const [address, name] = text.split('.');
  if (validateStacksAddress(address) && (name === undefined || /^[A-Za-z][A-Za-z0-9_-]{0,39}$/.test(name))) return text;
  throw new HttpError(400, { statusCode: 400, error: 'Bad Request', message: `invalid Stacks address: ${text}` });
}

/** @param {import('./producer.mjs').Producer} producer */
function info({ chain: { tip, burnTip } }) {
  return {
    peer_version: 402653189,
    burn_block_height: burnTip.height,
    stable_burn_block_height: burnTip.height,
    server_version: 'bithedge-devnet',
    network_id: CHAIN_ID,
    parent_network_id: 3669344250,
    stacks_tip_height: tip.height,
    stacks_tip: tip.hash,
    stacks_tip_consensus_hash: burnTip.hash.slice(0, 40),
    tenure_height: burnTip.height,
    is_fully_synced: true,
  };
}

/** @param {import('./http.mjs').Request} request @returns {Buffer} the raw transaction; throws Rejection */
function rawTransaction(request) {
  if (!request.type.startsWith('application/json')) return request.body;
  const { tx } = request.json();
  if (typeof tx === 'string' && /^([0-9a-f]{2})+$/i.test(tx)) return Buffer.from(tx, 'hex');
  throw new Rejection('Deserialization', { message: 'tx is not hex' });
}

/** @param {import('./fault_broadcasts.mjs').Broadcasts} broadcasts @param {import('./http.mjs').Request} request */
async function submit(broadcasts, request) {
  let raw = request.body;
  try {
    raw = rawTransaction(request);
    return await broadcasts.take(raw);
  } catch (error) {
    if (error instanceof Rejection) throw new HttpError(400, error.toJson(txidOf(raw)));
    throw error;
  }
}

/** Three fees, as the node estimates them: here by length alone. */
function fees(request) {
  const { transaction_payload: payload, estimated_len: length } = request.json();
  if (typeof payload !== 'string' || !/^(0x)?([0-9a-f]{2})+$/i.test(payload)) {
    throw new HttpError(400, { error: 'Bad Request', message: 'transaction_payload is not hex' });
  }
  const bytes = Math.max(Number.isSafeInteger(length) && length > 0 ? length : 0, payload.length / 2 + 180);
  return {
    estimated_cost: { read_count: 0, read_length: 0, runtime: 0, write_count: 0, write_length: 0 },
    estimated_cost_scalar: bytes,
    cost_scalar_change_by_byte: 1,
    estimations: [1, 2, 4].map((rate) => ({ fee: Math.ceil(bytes * rate), fee_rate: rate })),
  };
}

/**
 * The height of the block that `tip=` names by its index hash; null, as without it, for whatever is no hash.
 * @param {import('./applier.mjs').Applier} applier @param {import('./http.mjs').Request} request throws HttpError
 */
async function heightOf(applier, request) {
  const hash = request.query.get('tip')?.toLowerCase() ?? '';
  if (!/^[0-9a-f]{64}$/.test(hash)) return null;
  let { forked } = applier;
  for (await forked; forked !== applier.forked; await forked) ({ forked } = applier);
  const block = applier.chain.blocksByHash.get(hash);
  if (block?.indexHash !== hash) throw new HttpError(404, 'Chain tip not found', { 'content-type': 'text/plain' });
  return block.height;
}

/** @param {import('./applier.mjs').Applier} applier @param {import('./http.mjs').Request} request */
async function callRead(applier, request) {
  const [address, name, functionName] = request.params;
  const { sender, arguments: args } = request.json();
  if (!Array.isArray(args) || !args.every((one) => typeof one === 'string') || typeof sender !== 'string') {
    throw new HttpError(400, { error: 'Bad Request', message: 'sender and arguments are needed' });
  }
  const call = { sender: principal(sender), contract: `${principal(address)}.${name}`, function: functionName, args };
  const height = await heightOf(applier, request);
  if (height !== null && applier.chain.contracts.get(call.contract)?.height > height) {
    return { okay: false, cause: `Unchecked(NoSuchContract("${call.contract}"))` };
  }
  try {
    const { result } = await (height === null
      ? applier.vm.readSoon('read', call) : applier.vm.readSoon('read_at', { height, ...call }));
    return { okay: true, result: `0x${result}` };
  } catch (error) {
    if (error instanceof VmRefusal) return { okay: false, cause: error.message };
    if (error instanceof VmBusy) throw new HttpError(503, { error: error.message }, { 'retry-after': '1' });
    throw error;
  }
}

/** @param {import('./chain.mjs').Chain} chain @param {string[]} params */
function contractOf(chain, [address, name]) {
  const contract = chain.contracts.get(`${principal(address)}.${name}`);
  if (contract === undefined) throw notFound('No contract interface data found');
  return contract;
}

/**
 * @param {import('./producer.mjs').Producer} producer @param {import('./faults.mjs').Faults} faults
 * @param {import('./fault_broadcasts.mjs').Broadcasts} broadcasts
 * @returns {import('./http.mjs').Route[]}
 */
export function nodeRoutes(producer, faults, broadcasts) {
  const { chain, applier } = producer;
  const account = (request) => {
    const { ustx, nonce } = chain.account(principal(request.params[0]));
    return { balance: amountHex(ustx), locked: amountHex(0n), unlock_height: 0, nonce: faults.nonceLie()(Number(nonce)) };
  };
  const source = (request) => {
    const found = contractOf(chain, request.params);
    return { source: found.source, publish_height: found.height };
  };
  return [
    ['GET', /^\/v2\/info$/, () => info(producer)],
    ['GET', /^\/v2\/accounts\/([^/]+)$/, account],
    ['POST', /^\/v2\/transactions$/, (request) => submit(broadcasts, request)],
    ['POST', /^\/v2\/fees\/transaction$/, fees],
    ['POST', new RegExp(`^/v2/contracts/call-read/([^/]+)/${NAME}/${FUNCTION}$`), (request) => callRead(applier, request)],
    ['GET', new RegExp(`^/v2/contracts/source/([^/]+)/${NAME}$`), source],
    ['GET', new RegExp(`^/v2/contracts/interface/([^/]+)/${NAME}$`),
      (request) => contractOf(chain, request.params).interface],
  ];
}
