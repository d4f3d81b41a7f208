/** What only a development network has: market time, mining on demand (/devnet/...), and the faucets. */
import { HttpError } from './http.mjs';
import { Rejection } from './rejection.mjs';
import { principal } from './routes_node.mjs';

const MAX_BURN_BLOCKS = 1_000_000;
const MAX_SPEED = 10_000_000;

const badRequest = (message) => new HttpError(400, { error: 'Bad Request', message });

/** A number of the body. @param {import('./http.mjs').Request} request */
function amount(request, name, most, whole) {
  const value = request.json()[name];
  if (typeof value === 'number' && value >= 0 && value <= most && (!whole || Number.isSafeInteger(value))) return value;
  throw badRequest(`${name} must be a ${whole ? 'whole ' : ''}number from 0 to ${most}`);
}

/** @param {import('./producer.mjs').Producer} producer */
function clock(producer) {
  return {
    market_time: producer.clock.timeMs / 1000,
    burn_height: producer.chain.burnTip.height,
    speed: producer.clock.speed,
    held: producer.held,
  };
}

/** @param {(address: string, amount?: bigint) => Promise<{txid: string, raw: string}>} send */
const faucet = (send) => async (request) => {
  const address = request.query.get('address') ?? (request.body.length > 0 ? request.json().address : undefined);
  if (typeof address !== 'string') throw badRequest('address is needed');
  const wanted = request.query.get('amount');
  if (wanted !== null && !/^[1-9]\d{0,17}$/.test(wanted)) throw badRequest('amount must be a whole number above 0');
  try {
    const { txid, raw } = await send(principal(address), wanted === null ? undefined : BigInt(wanted));
    return { success: true, txId: `0x${txid}`, txRaw: raw };
  } catch (error) {
    if (error instanceof Rejection) throw badRequest(`the faucet's transaction was refused: ${error.reason}`);
    throw error;
  }
};

/**
 * @param {import('./producer.mjs').Producer} producer @param {import('./faucet.mjs').Faucet} source
 * @returns {import('./http.mjs').Route[]}
 */
export function devnetRoutes(producer, source) {
  const setSpeed = (request) => {
    producer.setSpeed(amount(request, 'speed', MAX_SPEED, false));
    return clock(producer);
  };
  const advance = async (request) => {
    await producer.advance(amount(request, 'seconds', MAX_BURN_BLOCKS * 600, false) * 1000);
    return clock(producer);
  };
  const burn = async (request) => {
    const count = amount(request, 'count', MAX_BURN_BLOCKS, true);
    if (!producer.burnRunning) throw new HttpError(409, { error: 'Conflict', message: 'burn blocks are stopped' });
    await producer.burn(count);
    return clock(producer);
  };
  const mine = async () => {
    await producer.mine(true);
    return clock(producer);
  };
  return [
    ['GET', /^\/devnet\/clock$/, () => clock(producer)],
    ['POST', /^\/devnet\/clock$/, setSpeed],
    ['POST', /^\/devnet\/advance$/, advance],
    ['POST', /^\/devnet\/burn-blocks$/, burn],
    ['POST', /^\/devnet\/blocks$/, mine],
    ['POST', /^\/extended\/v1\/faucets\/stx$/, faucet((address, wanted) => source.stx(address, wanted))],
    ['POST', /^\/extended\/v1\/faucets\/sbtc$/, faucet((address, wanted) => source.sbtc(address, wanted))],
  ];
}
