/** Raw transactions: strict decoding, and the check of the signature. Nothing here knows the chain's state. */
import { createHash } from 'node:crypto';
import {
  addressFromVersionHash, addressToString, AddressVersion, AuthType, cvToHex, deserializeTransaction, PayloadType,
  PostConditionMode, PostConditionPrincipalId, PostConditionType, publicKeyFromSignatureVrs,
} from '@stacks/transactions';

export const CHAIN_ID = 0x80000000;
export const TESTNET_VERSION = 0x80;
const P2PKH = 0x00;
const MULTISIG_MODES = new Set([0x01, 0x03, 0x05, 0x07]);
/** Where a single-signature origin's nonce, fee, key encoding and signature lie, after version, chain id and hash. */
const NONCE_AT = 27;
const KEY_ENCODING_AT = 43;
const SIGNATURE_END = 109;
/** Half the order of secp256k1: a larger s is the other signature of the same message. */
const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

/** The bytes are no transaction. */
export class DecodeError extends Error {}
/** The transaction is not validly signed, or not for this chain. */
export class InvalidTransaction extends Error {}

/**
 * @typedef {object} Transaction
 * @property {string} txid hex without 0x
 * @property {Buffer} raw
 * @property {number} version
 * @property {number} chainId
 * @property {string} sender
 * @property {number} hashMode
 * @property {bigint} nonce
 * @property {bigint} fee
 * @property {string} anchorMode
 * @property {'deny' | 'allow'} mode
 * @property {import('./post_conditions.mjs').Condition[]} conditions
 * @property {import('./executor.mjs').Body} body
 * @property {any} wire as the library has it
 */

const sha512_256 = (bytes) => createHash('sha512-256').update(bytes).digest();
const hash160 = (bytes) => createHash('ripemd160').update(createHash('sha256').update(bytes).digest()).digest('hex');

/** @param {Uint8Array} raw @returns {string} */
export const txidOf = (raw) => sha512_256(raw).toString('hex');

/** @param {number} hashMode @param {number} version the transaction's @param {string} hash */
function senderOf(hashMode, version, hash) {
  const testnet = version === TESTNET_VERSION;
  const addressVersion = MULTISIG_MODES.has(hashMode)
    ? (testnet ? AddressVersion.TestnetMultiSig : AddressVersion.MainnetMultiSig)
    : (testnet ? AddressVersion.TestnetSingleSig : AddressVersion.MainnetSingleSig);
  return addressToString(addressFromVersionHash(addressVersion, hash));
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

/** @param {any} payload @returns {import('./executor.mjs').Body} */
function bodyOf(payload) {
  switch (payload.payloadType) {
    case PayloadType.TokenTransfer: {
      const memo = Buffer.from(payload.memo.content.replace(/^0x/, ''), 'hex').toString('hex').replace(/(00)+$/, '');
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

/** @param {Buffer} raw @returns {Transaction} */
function parsed(raw) {
  const wire = deserializeTransaction(raw.toString('hex'));
  if (wire.auth.authType !== AuthType.Standard) throw new DecodeError('sponsored transactions are not taken');
  if (!Buffer.from(wire.serializeBytes()).equals(raw)) throw new DecodeError('bytes are left over, or not canonical');
  const { hashMode, signer, nonce, fee } = wire.auth.spendingCondition;
  const sender = senderOf(hashMode, wire.transactionVersion, signer);
  return {
    txid: txidOf(raw),
    raw,
    version: wire.transactionVersion,
    chainId: wire.chainId,
    sender,
    hashMode,
    nonce: BigInt(nonce),
    fee: BigInt(fee),
    anchorMode: { 1: 'on_chain_only', 2: 'off_chain_only', 3: 'any' }[wire.anchorMode],
    mode: wire.postConditionMode === PostConditionMode.Allow ? 'allow' : 'deny',
    conditions: wire.postConditions.values.map((one) => conditionOf(one, sender)),
    body: bodyOf(wire.payload),
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

/** The digest that a single-signature origin signs. @param {Buffer} raw */
function signedDigest(raw) {
  const cleared = Buffer.from(raw);
  cleared.fill(0, NONCE_AT, KEY_ENCODING_AT);
  cleared.fill(0, KEY_ENCODING_AT + 1, SIGNATURE_END);
  const nonce = raw.subarray(NONCE_AT, NONCE_AT + 8);
  const fee = raw.subarray(NONCE_AT + 8, NONCE_AT + 16);
  return sha512_256(Buffer.concat([sha512_256(cleared), Buffer.from([AuthType.Standard]), fee, nonce]));
}

/** @param {Transaction} transaction */
function checkSingleSignature({ raw, wire }) {
  const { signature, signer, keyEncoding } = wire.auth.spendingCondition;
  if (BigInt(`0x${signature.data.slice(66)}`) > HALF_ORDER) throw new InvalidTransaction('high-s signature');
  const encoding = keyEncoding === 0 ? 'compressed' : 'uncompressed';
  const digest = signedDigest(raw).toString('hex');
  let key;
  try {
    key = publicKeyFromSignatureVrs(digest, signature.data, keyEncoding);
  } catch (error) {
    throw new InvalidTransaction(`no public key of ${encoding} form has this signature: ${error.message}`);
  }
  if (hash160(Buffer.from(key, 'hex')) !== signer) {
    throw new InvalidTransaction('the signer hash is not that of the public key that signed');
  }
}

/** The signature is by the sender, and the transaction is for this chain; throws InvalidTransaction. */
export function verify(/** @type {Transaction} */ transaction) {
  if (transaction.hashMode === P2PKH) {
    checkSingleSignature(transaction);
  } else {
    try {
      transaction.wire.verifyOrigin();
    } catch (error) {
      throw new InvalidTransaction(error.message);
    }
  }
  if (transaction.chainId !== CHAIN_ID) {
    throw new InvalidTransaction(`invalid chain ID ${transaction.chainId} (expected ${CHAIN_ID})`);
  }
  if (transaction.version !== TESTNET_VERSION) throw new InvalidTransaction('on testnet; got mainnet');
}
