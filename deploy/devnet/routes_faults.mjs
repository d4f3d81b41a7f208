/** Faults on demand: /devnet/faults, /devnet/burn, /devnet/vm/crash. */
import { checkedObject } from './fault_settings.mjs';
import { badRequest } from './http.mjs';

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
    ['GET', /^\/devnet\/burn$/, burning],
    ['POST', /^\/devnet\/burn$/, setBurning],
    ['GET', /^\/devnet\/vm$/, vmState],
    ['POST', /^\/devnet\/vm\/crash$/, crash],
  ];
}
