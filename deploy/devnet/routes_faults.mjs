/** Faults on demand: /devnet/faults, /devnet/fork, /devnet/burn, /devnet/vm/crash. */
import { checkedObject, oneOf, wholeNumber } from './fault_settings.mjs';
import { HttpError, badRequest } from './http.mjs';

const FATES = ['return', 'lose', 'shuffle'];
const MAX_DEPTH = 1_000_000;

/** @param {import('./http.mjs').Request} request */
function forkWanted(request) {
  const body = checkedObject(request.json(), 'the body', ['depth', 'transactions', 'burn']);
  const { depth, transactions = 'return', burn = false } = body;
  if (typeof burn !== 'boolean') throw badRequest('burn must be true or false');
  return [wholeNumber(depth, 'depth', 1, MAX_DEPTH), oneOf(transactions, 'transactions', FATES), burn];
}

/** @param {import('./chain.mjs').Chain} chain */
const branchShape = ({ forks, forkable, tip }) => ({
  forks, forkable, stacks_height: tip.height, stacks_tip: `0x${tip.hash}`, burn_height: tip.burnHeight,
});

/**
 * @param {import('./producer.mjs').Producer} producer @param {import('./faults.mjs').Faults} faults
 * @param {import('./fault_broadcasts.mjs').Broadcasts} broadcasts
 * @returns {import('./http.mjs').Route[]}
 */
export function faultRoutes(producer, faults, broadcasts) {
  const { vm } = producer.applier;
  const state = () => {
    const { config, drawn, injected } = faults;
    return { config, drawn, injected, waiting: broadcasts.waiting };
  };
  const configure = async (request) => {
    faults.configure(request.json());
    await broadcasts.release();
    return state();
  };
  const clear = async () => {
    faults.clear();
    await broadcasts.release();
    return state();
  };
  const fork = async (request) => {
    const [depth, fate, burn] = forkWanted(request);
    if (!(await producer.fork(depth, fate, burn, faults.forkRandom))) {
      const message = `only ${producer.chain.forkable} blocks can be withdrawn: a contract lies below, or nothing`;
      throw new HttpError(409, { error: 'Conflict', message });
    }
    return branchShape(producer.chain);
  };
  const burning = () => ({ running: producer.burnRunning, burn_height: producer.chain.burnTip.height });
  const setBurning = async (request) => {
    const { running } = checkedObject(request.json(), 'the body', ['running']);
    if (typeof running !== 'boolean') throw badRequest('running must be true or false');
    await producer.setBurnRunning(running);
    return burning();
  };
  const vmState = () => ({ ready: vm.ready, restarts: vm.restarts });
  const crash = () => {
    vm.crash();
    return vmState();
  };
  return [
    ['GET', /^\/devnet\/faults$/, state],
    ['PUT', /^\/devnet\/faults$/, configure],
    ['DELETE', /^\/devnet\/faults$/, clear],
    ['GET', /^\/devnet\/fork$/, () => branchShape(producer.chain)],
    ['POST', /^\/devnet\/fork$/, fork],
    ['GET', /^\/devnet\/burn$/, burning],
    ['POST', /^\/devnet\/burn$/, setBurning],
    ['GET', /^\/devnet\/vm$/, vmState],
    ['POST', /^\/devnet\/vm\/crash$/, crash],
  ];
}
