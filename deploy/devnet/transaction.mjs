/** Raw transactions: strict decoding, and whom they are by. Nothing here knows the chain's state. */
import {
  addressFromVersionHash, addressToString, AddressVersion, AuthType, cvToHex, deserializeTransaction, PayloadType,
  PostConditionMode, PostConditionPrincipalId, PostConditionType,
} from '@stacks/transactions';
import { checkSignatures, InvalidTransaction, sha512_256 } from './signatures.mjs';

export const CHAIN_ID = 0x80000000;
export const TESTNET_VERSION = 0x80;
/** A transfer ends with its memo. */
const MEMO_BYTES = 34;
const MULTISIG_MODES = new Set([0x01, 0x03, 0x05, 0x07]);

/** The bytes are no transaction. */
export class DecodeError extends Error {}

/**
 * @typedef {object} Transaction
 * @property {string} txid hex without 0x
 * @property {Buffer} raw
 * @property {number} version
 * @property {number} chainId
 * @property {string} sender
 * @property {bigint} nonce
 * @property {boolean} sponsored
 * @property {string} payer of the fee: the sponsor, or the sender
 * @property {bigint} payerNonce
 * @property {bigint} fee
 * @property {string} anchorMode
 * @property {'deny' | 'allow'} mode
 * @property {import('./post_conditions.mjs').Condition[]} conditions
 * @property {import('./executor.mjs').Body} body
 * @property {any} wire as the library has it
 */

/** @param {Uint8Array} raw @returns {string} */
export const txidOf = (raw) => sha512_256(raw).toString('hex');

/** @param {any} condition @param {number} version the transaction's */
function addressOf({ hashMode, signer }, version) {
  const testnet = version === TESTNET_VERSION;
  const addressVersion = MULTISIG_MODES.has(hashMode)
    ? (testnet ? AddressVersion.TestnetMultiSig : AddressVersion.MainnetMultiSig)
    : (testnet ? AddressVersion.TestnetSingleSig : AddressVersion.MainnetSingleSig);
  return addressToString(addressFromVersionHash(addressVersion, signer));
}

/** @param {any} wire a post-condition @param {string} sender @returns {import('./post_conditions.mjs').Condition} */
function conditionOf(wire, sender) {
  const { prefix, address, contractName } = wire.principal;
  let principal = sender;
  if (prefix !== PostConditionPrincipalId.Origin) principal = addressToString(address);
  if (prefix === PostConditionPrincipalId.Contract) principal += `.${contractName.content}`;
  if (wire.conditionType === PostConditionType.STX) {
    return { principal, asset: 'STX', code: wire.conditionCode, amount: String(wire.amount) };
  }
  const { asset } = wire;
  const name = `${addressToString(asset.address)}.${asset.contractName.content}::${asset.assetName.content}`;
  if (wire.conditionType === PostConditionType.Fungible) {
    return { principal, asset: name, code: wire.conditionCode, amount: String(wire.amount) };
  }
  return { principal, asset: name, code: wire.conditionCode, item: cvToHex(wire.assetName) };
}

/** @param {any} payload @param {Buffer} raw @returns {import('./executor.mjs').Body} */
function bodyOf(payload, raw) {
  switch (payload.payloadType) {
    case PayloadType.TokenTransfer: {
      const memo = raw.subarray(-MEMO_BYTES).toString('hex').replace(/(00)+$/, '');
      return {
        kind: 'token_transfer', recipient: payload.recipient.value, amount: String(payload.amount), memo,
      };
    }
    case PayloadType.ContractCall:
      return {
        kind: 'contract_call',
        contract: `${addressToString(payload.contractAddress)}.${payload.contractName.content}`,
        function: payload.functionName.content,
        args: payload.functionArgs.map((value) => cvToHex(value)),
      };
    case PayloadType.SmartContract:
    case PayloadType.VersionedSmartContract:
      return { kind: 'smart_contract', name: payload.contractName.content, code: payload.codeBody.content };
    default:
      throw new DecodeError(`transactions of payload ${payload.payloadType} are not taken`);
  }
}

/** Whether the bytes are just what the library makes of them. It reads a memo as text, which need not be one. */
function isWritten(wire, raw) {
  const written = Buffer.from(wire.serializeBytes());
  if (wire.payload.payloadType !== PayloadType.TokenTransfer) return written.equals(raw);
  const end = written.length - Math.max(MEMO_BYTES, Buffer.byteLength(wire.payload.memo.content));
  return raw.length === end + MEMO_BYTES && written.subarray(0, end).equals(raw.subarray(0, end));
}

/** @param {Buffer} raw @returns {Transaction} */
function parsed(raw) {
  const wire = deserializeTransaction(raw.toString('hex'));
  if (!isWritten(wire, raw)) throw new DecodeError('bytes are left over, or not canonical');
  const sponsored = wire.auth.authType === AuthType.Sponsored;
  const origin = wire.auth.spendingCondition;
  const paying = sponsored ? wire.auth.sponsorSpendingCondition : origin;
  const sender = addressOf(origin, wire.transactionVersion);
  return {
    txid: txidOf(raw),
    raw,
    version: wire.transactionVersion,
    chainId: wire.chainId,
    sender,
    nonce: BigInt(origin.nonce),
    sponsored,
    payer: addressOf(paying, wire.transactionVersion),
    payerNonce: BigInt(paying.nonce),
    fee: BigInt(paying.fee),
    anchorMode: { 1: 'on_chain_only', 2: 'off_chain_only', 3: 'any' }[wire.anchorMode],
    mode: wire.postConditionMode === PostConditionMode.Allow ? 'allow' : 'deny',
    conditions: wire.postConditions.values.map((one) => conditionOf(one, sender)),
    body: bodyOf(wire.payload, raw),
    wire,
  };
}

/** @param {Buffer} raw @returns {Transaction} throws DecodeError */
export function decode(raw) {
  try {
    return parsed(raw);
  } catch (error) {
    // The boundary to the library: it has no error type of its own for bytes that it cannot read.
    throw error instanceof DecodeError ? error : new DecodeError(error.message);
  }
}

/** It is signed by those it names, and for this chain; throws InvalidTransaction. @param {Transaction} transaction */
export function verify(transaction) {
  checkSignatures(transaction);
  if (transaction.chainId !== CHAIN_ID) {
    throw new InvalidTransaction(`invalid chain ID ${transaction.chainId} (expected ${CHAIN_ID})`);
  }
  if (transaction.version !== TESTNET_VERSION) throw new InvalidTransaction('on testnet; got mainnet');
}
