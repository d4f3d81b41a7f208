/** Builds and signs the wallet's transactions; nothing is broadcast here. */
import {
  ClarityVersion, deserializeCV, getAddressFromPrivateKey, makeContractCall, makeContractDeploy, makeSTXTokenTransfer,
  serializePayload,
} from '@stacks/transactions';
import { STACKS_MAINNET, STACKS_TESTNET } from '@stacks/network';
import { privateKeyOf } from './keyring.mjs';

/**
 * What every kind of transaction takes.
 * @typedef {object} Common
 * @property {string} seed
 * @property {string} [nonce] decimal; without it the node is asked
 * @property {string} [fee] uSTX, decimal; without it the node is asked
 * @property {string} [network] "testnet" (default) or "mainnet"
 * @property {number} [chain_id] instead of the network's own
 * @property {(string | object)[]} [post_conditions] each in hex as on the wire, or an object of `@stacks/transactions`
 * @property {"deny" | "allow"} [post_condition_mode] default deny
 * @property {boolean} [sponsored] another will sign after us and pay the fee
 */

const PLACEHOLDER_FEE = 0n;

/** Everything but the payload. @param {Common} request @param {{nonce: bigint, fee: bigint}} paid */
function common(request, paid) {
  const network = { ...(request.network === 'mainnet' ? STACKS_MAINNET : STACKS_TESTNET) };
  if (request.chain_id !== undefined) network.chainId = request.chain_id;
  return {
    senderKey: privateKeyOf(request.seed),
    network,
    nonce: paid.nonce,
    fee: paid.fee,
    postConditions: request.post_conditions ?? [],
    postConditionMode: request.post_condition_mode ?? 'deny',
    sponsored: request.sponsored ?? false,
  };
}

/** @type {Record<string, (request: any, paid: {nonce: bigint, fee: bigint}) => Promise<any>>} */
const builders = {
  call: (request, paid) => {
    const [contractAddress, contractName] = request.contract.split('.');
    return makeContractCall({
      ...common(request, paid),
      contractAddress,
      contractName,
      functionName: request.function,
      functionArgs: (request.args ?? []).map((hex) => deserializeCV(hex)),
      validateWithAbi: false,
    });
  },
  deploy: (request, paid) => makeContractDeploy({
    ...common(request, paid),
    contractName: request.name,
    codeBody: request.code,
    clarityVersion: request.clarity_version ?? ClarityVersion.Clarity4,
  }),
  transfer: (request, paid) => makeSTXTokenTransfer({
    ...common(request, paid), recipient: request.recipient, amount: BigInt(request.amount), memo: request.memo ?? '',
  }),
};

/**
 * @param {"call" | "deploy" | "transfer"} kind
 * @param {Common & Record<string, any>} request
 * @param {import('./node_api.mjs').NodeApi} node
 * @returns {Promise<{raw: string, txid: string, sender: string, nonce: string, fee: string}>} raw in hex
 */
export async function build(kind, request, node) {
  const sender = getAddressFromPrivateKey(privateKeyOf(request.seed), request.network ?? 'testnet');
  const nonce = request.nonce === undefined ? await node.nextNonce(sender) : BigInt(request.nonce);
  let fee = PLACEHOLDER_FEE;
  if (request.fee !== undefined) {
    fee = BigInt(request.fee);
  } else {
    const draft = await builders[kind](request, { nonce, fee });
    fee = await node.estimateFee(serializePayload(draft.payload), draft.serialize().length / 2);
  }
  const transaction = await builders[kind](request, { nonce, fee });
  return { raw: transaction.serialize(), txid: transaction.txid(), sender, nonce: String(nonce), fee: String(fee) };
}
