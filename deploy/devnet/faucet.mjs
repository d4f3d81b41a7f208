/** The faucet: an account of the devnet itself that sends STX and sBTC by signed transactions like anyone's. */
import { createHash } from 'node:crypto';
import { Cl, getAddressFromPrivateKey, makeContractCall, makeSTXTokenTransfer, Pc } from '@stacks/transactions';
import { SBTC_CONTRACT } from './clarity_session.mjs';

// Everybody knows this key: what it holds is worth nothing anywhere else.
const KEY = `${createHash('sha256').update('bithedge devnet faucet').digest('hex')}01`;
export const FAUCET_ADDRESS = getAddressFromPrivateKey(KEY, 'testnet');
/** What the faucet has at genesis. */
export const FAUCET_ACCOUNT = { address: FAUCET_ADDRESS, ustx: '1000000000000000000', sats: '100000000000000000' };
const DEFAULT_USTX = 500_000_000n;
const DEFAULT_SATS = 100_000_000n;
const STX_FEE = 200n;
const SBTC_FEE = 1000n;
const MAXIMUM_PENDING = 1_000_000n;

export class Faucet {
  #turn = Promise.resolve();

  /** @param {import('./producer.mjs').Producer} producer */
  constructor(producer) {
    this.producer = producer;
  }

  /** @param {string} recipient @param {bigint} [amount] uSTX @returns {Promise<{txid: string, raw: string}>} */
  stx(recipient, amount = DEFAULT_USTX) {
    return this.#send((nonce) => makeSTXTokenTransfer({
      recipient, amount, nonce, fee: STX_FEE, senderKey: KEY, network: 'testnet',
    }));
  }

  /** @param {string} recipient @param {bigint} [amount] sats @returns {Promise<{txid: string, raw: string}>} */
  sbtc(recipient, amount = DEFAULT_SATS) {
    const [contractAddress, contractName] = SBTC_CONTRACT.split('.');
    const args = [Cl.uint(amount), Cl.principal(FAUCET_ADDRESS), Cl.principal(recipient), Cl.none()];
    const condition = Pc.principal(FAUCET_ADDRESS).willSendEq(amount).ft(SBTC_CONTRACT, 'sbtc-token');
    return this.#send((nonce) => makeContractCall({
      contractAddress, contractName, functionName: 'transfer', functionArgs: args, postConditions: [condition],
      nonce, fee: SBTC_FEE, senderKey: KEY, network: 'testnet',
    }));
  }

  /** One at a time: each needs the nonce after the last one. */
  #send(build) {
    const sent = this.#turn.then(async () => {
      const { chain, mempool } = this.producer;
      let { nonce } = chain.account(FAUCET_ADDRESS);
      // A fork may have lost one of several that wait.
      while (mempool.get(FAUCET_ADDRESS, nonce) !== undefined) nonce += 1n;
      const raw = (await build(nonce)).serialize();
      return { txid: await this.producer.submit(Buffer.from(raw, 'hex'), MAXIMUM_PENDING), raw };
    });
    this.#turn = sent.then(() => {}, () => {});
    return sent;
  }
}
