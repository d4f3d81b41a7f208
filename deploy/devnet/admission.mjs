/** Whether the mempool takes a transaction: the checks of the real node, in its order. */
import { AddressVersion } from '@stacks/transactions';
import { c32addressDecode } from 'c32check';
import { argumentFault } from './arguments.mjs';
import { InvalidTransaction } from './signatures.mjs';
import { verify } from './transaction.mjs';
import { CHAINING_MESSAGE, Rejection, amountHex } from './rejection.mjs';
import { SBTC_CONTRACT } from './clarity_session.mjs';

const MINIMUM_FEE_PER_BYTE = 1n;
export const MAXIMUM_PENDING = 25n;
const TESTNET_VERSIONS = new Set([AddressVersion.TestnetSingleSig, AddressVersion.TestnetMultiSig]);

/** The sBTC token is part of the VM and tells no interface; its only public function that an account may call: */
const SBTC_TRANSFER = [
  { name: 'amount', type: 'uint128' },
  { name: 'sender', type: 'principal' },
  { name: 'recipient', type: 'principal' },
  { name: 'memo', type: { optional: { buffer: { length: 34 } } } },
];

/** @typedef {import('./transaction.mjs').Transaction} Transaction @typedef {import('./chain.mjs').Chain} Chain */

/** @param {string} principal */
const isTestnet = (principal) => TESTNET_VERSIONS.has(c32addressDecode(principal.split('.')[0])[0]);

/** @param {Transaction} tx */
function checkSignature(tx) {
  try {
    verify(tx);
  } catch (error) {
    if (error instanceof InvalidTransaction) throw new Rejection('SignatureValidation', { message: error.message });
    throw error;
  }
}

/** @param {Transaction} tx */
function checkFee(tx) {
  const expected = BigInt(tx.raw.length) * MINIMUM_FEE_PER_BYTE;
  if (tx.fee < expected) throw new Rejection('FeeTooLow', { expected: Number(expected), actual: Number(tx.fee) });
}

/** @param {string} principal @param {bigint} nonce @param {boolean} isOrigin or the sponsor
 * @param {bigint} next the account's nonce @param {bigint} pending how many may wait */
function checkNonce(principal, nonce, isOrigin, next, pending) {
  const data = { expected: Number(next), actual: Number(nonce), is_origin: isOrigin, principal };
  if (nonce < next) throw new Rejection('BadNonce', data);
  const last = next + pending - 1n;
  if (nonce > last) throw new Rejection('TooMuchChaining', { message: CHAINING_MESSAGE, ...data, expected: Number(last) });
}

/** Who sponsors themselves signs twice for the one nonce that the transaction uses. */
const ownSponsorData = ({ nonce, payer, payerNonce }) => ({
  expected: Number(nonce), actual: Number(payerNonce), is_origin: false, principal: payer,
});

/** @param {bigint} needed @param {bigint} balance */
function checkFunds(needed, balance) {
  if (needed <= balance) return;
  throw new Rejection('NotEnoughFunds', { expected: amountHex(needed), actual: amountHex(balance) });
}

/** @param {import('./executor.mjs').Body} body @param {Chain} chain */
function checkCall(body, chain) {
  const known = chain.contracts.get(body.contract);
  let parameters;
  if (body.contract === SBTC_CONTRACT) {
    parameters = body.function === 'transfer' ? SBTC_TRANSFER : undefined;
  } else {
    if (!isTestnet(body.contract)) throw new Rejection('BadAddressVersionByte');
    if (known === undefined) throw new Rejection('NoSuchContract');
    parameters = known.interface.functions.find((one) => one.name === body.function && one.access === 'public')?.args;
  }
  if (parameters === undefined) throw new Rejection('NoSuchPublicFunction');
  const fault = argumentFault(parameters, body.args);
  if (fault !== null) throw new Rejection('BadFunctionArgument', { message: fault });
}

/** @param {Transaction} tx @param {Chain} chain */
function checkBody({ body, sender, payer, fee }, chain) {
  if (body.kind === 'contract_call') {
    checkCall(body, chain);
  } else if (body.kind === 'smart_contract') {
    const contract = `${sender}.${body.name}`;
    if (chain.contracts.has(contract)) throw new Rejection('ContractAlreadyExists', { contract_identifier: contract });
  } else {
    if (!isTestnet(body.recipient)) throw new Rejection('BadAddressVersionByte');
    if (body.recipient === sender) throw new Rejection('TransferRecipientCannotEqualSender', { recipient: sender });
    if (BigInt(body.amount) === 0n) throw new Rejection('TransferAmountMustBePositive');
    checkFunds(BigInt(body.amount) + (payer === sender ? fee : 0n), chain.account(sender).ustx);
  }
}

/**
 * Throws a Rejection, or returns: the mempool takes it.
 * @param {Transaction} tx @param {Chain} chain @param {import('./mempool.mjs').Mempool} mempool
 * @param {bigint} [pending] how many transactions of the sender may wait
 */
export function admit(tx, chain, mempool, pending = MAXIMUM_PENDING) {
  checkSignature(tx);
  checkFee(tx);
  const origin = chain.account(tx.sender);
  const payer = chain.account(tx.payer);
  checkNonce(tx.sender, tx.nonce, true, origin.nonce, pending);
  checkNonce(tx.payer, tx.payerNonce, false, payer.nonce, pending);
  if (tx.payer === tx.sender && tx.payerNonce !== tx.nonce) throw new Rejection('BadNonce', ownSponsorData(tx));
  if (tx.body.kind !== 'token_transfer' || tx.payer !== tx.sender) checkFunds(tx.fee, payer.ustx);
  checkBody(tx, chain);
  const waiting = mempool.conflicts(tx);
  if (waiting.some((entry) => tx.fee <= entry.tx.fee)) throw new Rejection('ConflictingNonceInMempool');
}
