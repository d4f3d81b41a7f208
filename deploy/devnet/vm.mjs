/**
 * The Clarity VM as a process of its own: JSON lines on stdin and stdout.
 *
 * A request is {"id": n, "op": name, ...}; the answer is {"id": n, "ok": value} or {"id": n, "error": message}, in
 * the order of the requests. An error leaves the chain's state as it was (a failed call may still have used a
 * Stacks block). Amounts are decimal strings; Clarity values are hex without 0x.
 *
 *   init            {time?, costs?}                          new chain: epoch 3.3 (Clarity 4), burn height 1, Stacks
 *                                                            height 1, `time` = unix seconds at genesis, `costs` false:
 *                                                            none are told, which is faster -> heights
 *   reset           {time?, costs?}                                 the same again, forgetting the old chain
 *   mint_stx        {principal, amount}                      uSTX out of nothing
 *   mint_sbtc       {principal, amount}                      sats of the real sBTC token of the session
 *   deploy          {sender, name, code}                     Clarity 4, in its own Stacks block -> result
 *   call            {sender, contract, function, args[]}     public function, in its own Stacks block -> result
 *   read            {sender, contract, function, args[]}     read-only function at the tip -> result
 *   read_at         {height, and as read}                    the same at the end of an earlier Stacks block -> result
 *   transfer        {sender, recipient, amount}              uSTX, in its own Stacks block -> result
 *   execute         {sender, expression}                     one top-level expression in the current block -> result
 *   balances        {principals[]}                           -> {principal: {ustx, sats}}
 *   mine_stacks     {count}                                  empty Stacks blocks -> heights
 *   mine_burn       {count}                                  burn blocks, each with an empty Stacks block -> heights
 *   heights         {}                                       -> {burn_height, stacks_height, block_time}
 *   checkpoint      {}                                       remembers the whole state, instead of an earlier one
 *   restore         {}                                       goes back to it -> heights
 *   source          {contract}                               -> text or null
 *   interface       {contract}                               -> functions, variables, maps, tokens; or null
 *   go_back         {inputs}                                 for the devnet: to the state after so many inputs ->
 *                                                            heights; null: too long ago, start again
 *   apply           {input}                                  for the devnet: one input of its chain, with fees and
 *                                                            post-conditions (executor.mjs) -> outcome, heights
 *
 * result = {result: hex, ok: bool (false for an (err ...)), events: [{type, data}], costs: {...} or null}
 * Several calls in one block: mine_stacks 1, then execute for each.
 */
import { createInterface } from 'node:readline';
import { ClaritySession, VmError } from './clarity_session.mjs';
import { Executor } from './executor.mjs';

const DEFAULT_GENESIS_TIME = Date.UTC(2020, 2, 11) / 1000;

/** @type {ClaritySession | null} */
let session = null;
/** @type {Executor | null} made at the first input */
let executor = null;

/** @returns {ClaritySession} */
function chain() {
  if (session === null) throw new VmError('no chain: send init first');
  return session;
}

async function init({ time = DEFAULT_GENESIS_TIME, costs = true }) {
  session?.close();
  executor = null;
  session = await ClaritySession.create(time, costs);
  return session.heights();
}

function apply({ input }) {
  executor ??= new Executor(chain());
  return { outcome: executor.apply(input), heights: chain().heights() };
}

function goBack({ inputs }) {
  executor ??= new Executor(chain());
  return executor.goBack(inputs) ? chain().heights() : null;
}

/** Each operation takes the request and gives the value of "ok". */
const operations = {
  init,
  reset: init,
  mint_stx: ({ principal, amount }) => { chain().mintStx(principal, BigInt(amount)); return null; },
  mint_sbtc: ({ principal, amount }) => { chain().mintSbtc(principal, BigInt(amount)); return null; },
  deploy: ({ sender, name, code }) => chain().deploy(sender, name, code),
  call: (request) => chain().call(request.sender, request.contract, request.function, request.args),
  read: (request) => chain().read(request.sender, request.contract, request.function, request.args),
  read_at: (request) => chain().readAt(request.height, request.sender, request.contract, request.function, request.args),
  transfer: ({ sender, recipient, amount }) => chain().transfer(sender, recipient, BigInt(amount)),
  execute: ({ sender, expression }) => chain().execute(sender, expression),
  balances: ({ principals }) => Object.fromEntries(principals.map((one) => [one, chain().balances(one)])),
  mine_stacks: ({ count }) => { chain().mineStacks(count); return chain().heights(); },
  mine_burn: ({ count }) => { chain().mineBurn(count); return chain().heights(); },
  heights: () => chain().heights(),
  checkpoint: () => { chain().checkpoint(); return null; },
  restore: () => { chain().restore(); return chain().heights(); },
  source: ({ contract }) => chain().source(contract) ?? null,
  apply,
  go_back: goBack,
  interface: ({ contract }) => chain().interfaceOf(contract) ?? null,
};

/** @param {string} line @returns {Promise<string>} the answer, one line */
async function answer(line) {
  const request = JSON.parse(line);
  const operation = Object.hasOwn(operations, request.op) ? operations[request.op] : undefined;
  if (operation === undefined) return JSON.stringify({ id: request.id, error: `no operation ${request.op}` });
  try {
    return JSON.stringify({ id: request.id, ok: await operation(request) });
  } catch (error) {
    if (error instanceof VmError || error instanceof TypeError || error instanceof SyntaxError) {
      return JSON.stringify({ id: request.id, error: error.message });
    }
    throw error;
  }
}

async function main() {
  // The VM reports failed calls on the console besides throwing; stdout carries answers only.
  console.log = () => {};
  console.error = () => {};
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    if (line.trim() !== '') process.stdout.write(`${await answer(line)}\n`);
  }
}

await main();
