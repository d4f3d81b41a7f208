/**
 * The users' wallet of the development network, on the Stacks JavaScript libraries alone: `node wallet.mjs --api URL`.
 *
 * JSON lines on stdin and stdout: {"id": n, "op": name, ...} -> {"id": n, "ok": value} or {"id": n, "error": message,
 * "rejection"?: the node's answer}. Requests run at the same time and may be answered out of order. Keys are made
 * from `seed` (any text) and never leave the process.
 *
 *   address          {seed?}                                  -> {seed, address, public_key}; without seed a new one
 *   sign_message     {seed, message}                          plain message -> {signature, public_key}
 *   sign_structured  {seed, domain, message}                  SIP-018, Clarity values in hex -> {signature, public_key}
 *   call             {seed, contract, function, args[]}       args in hex -> signed
 *   deploy           {seed, name, code, clarity_version?}     Clarity 4 by default -> signed
 *   transfer         {seed, recipient, amount, memo?}         uSTX -> signed
 *   broadcast        {raw}                                    -> {txid}
 *
 * signed = {raw, txid, sender, nonce, fee}. call, deploy and transfer also take nonce, fee, post_conditions,
 * post_condition_mode, network, chain_id and sponsored (see transactions.mjs).
 */
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { address, signMessage, signStructured } from './keyring.mjs';
import { NodeApi, Rejected } from './node_api.mjs';
import { build } from './transactions.mjs';

/** Each operation takes the request and the node and gives the value of "ok". */
const operations = {
  address,
  sign_message: signMessage,
  sign_structured: signStructured,
  call: (request, node) => build('call', request, node),
  deploy: (request, node) => build('deploy', request, node),
  transfer: (request, node) => build('transfer', request, node),
  broadcast: async ({ raw }, node) => ({ txid: await node.broadcast(raw) }),
};

/** @param {any} request @param {NodeApi} node @returns {Promise<object>} the answer without its id */
async function answer(request, node) {
  if (!Object.hasOwn(operations, request.op)) return { error: `no operation ${request.op}` };
  try {
    return { ok: await operations[request.op](request, node) };
  } catch (error) {
    // The boundary of the process: whatever a request did wrong goes back to who sent it.
    if (error instanceof Rejected) return { error: error.message, rejection: error.rejection };
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

async function main() {
  const { values } = parseArgs({ options: { api: { type: 'string' } } });
  if (values.api === undefined) {
    process.stderr.write('wallet: --api URL is missing\n');
    process.exitCode = 2;
    return;
  }
  const node = new NodeApi(values.api);
  /** @type {Set<Promise<void>>} */
  const underWay = new Set();
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (line.trim() === '') continue;
    const request = JSON.parse(line);
    const answered = answer(request, node).then((result) => {
      process.stdout.write(`${JSON.stringify({ id: request.id, ...result })}\n`);
      underWay.delete(answered);
    });
    underWay.add(answered);
  }
  await Promise.all(underWay);
  // Connections that are kept open for a next request would keep the process for seconds.
  process.exit(0);
}

await main();
