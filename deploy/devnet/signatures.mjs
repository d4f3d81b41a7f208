/**
 * Whether a transaction is signed by those it names, as the node checks it: the origin of one key or several, in all
 * hash modes, and after it the sponsor.
 *
 * Each signer signs the hash of (current hash, kind of authorization, fee, nonce). The current hash starts as the id of
 * the transaction without signatures, fees, nonces and sponsor; each signature goes into it, but for the modes whose
 * signers need no order.
 */
import { createHash } from 'node:crypto';
import {
  addressFromPublicKeys, AddressHashMode, AuthType, intoInitialSighashAuth, nextVerification,
  serializeAuthorizationBytes, StacksWireType,
} from '@stacks/transactions';

/** Version and chain id come before the authorization. */
const AUTHORIZATION_AT = 5;
const SINGLE_KEY = new Set([AddressHashMode.P2PKH, AddressHashMode.P2WPKH]);
const SEQUENTIAL = new Set([AddressHashMode.P2SH, AddressHashMode.P2WSH]);
const SEGWIT = new Set([AddressHashMode.P2WPKH, AddressHashMode.P2WSH, AddressHashMode.P2WSHNonSequential]);
const COMPRESSED = 0;
/** Half the order of secp256k1: a larger s is the other signature of the same message. */
const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

/** The transaction is not validly signed, or not for this chain. */
export class InvalidTransaction extends Error {}

export const sha512_256 = (bytes) => createHash('sha512-256').update(bytes).digest();

/** The id of the transaction before anybody signed. @param {Buffer} raw @param {any} auth @returns {string} hex */
function initialHash(raw, auth) {
  const cleared = serializeAuthorizationBytes(intoInitialSighashAuth(auth));
  const body = raw.subarray(AUTHORIZATION_AT + serializeAuthorizationBytes(auth).length);
  return sha512_256(Buffer.concat([raw.subarray(0, AUTHORIZATION_AT), cleared, body])).toString('hex');
}

/** The public key of one signature, and the hash that the next signs. */
function signed(current, kind, { fee, nonce }, keyEncoding, signature) {
  if (BigInt(`0x${signature.slice(66)}`) > HALF_ORDER) throw new InvalidTransaction('high-s signature');
  try {
    return nextVerification(current, kind, fee, nonce, keyEncoding, signature);
  } catch (error) {
    // The boundary to the library: it has no error type of its own for what is no signature.
    throw new InvalidTransaction(`no public key has this signature: ${error.message}`);
  }
}

/** Keys in the address's order, and the hash that comes after. */
function keysOf(condition, current, kind) {
  if (SINGLE_KEY.has(condition.hashMode)) {
    const { pubKey, nextSigHash } = signed(current, kind, condition, condition.keyEncoding, condition.signature.data);
    return { keys: [pubKey], encodings: [condition.keyEncoding], required: 1, next: nextSigHash };
  }
  const keys = [];
  const encodings = [];
  let [count, next] = [0, current];
  for (const { contents, pubKeyEncoding } of condition.fields) {
    encodings.push(pubKeyEncoding);
    if (contents.type === StacksWireType.PublicKey) {
      keys.push(contents);
      continue;
    }
    const { pubKey, nextSigHash } = signed(next, kind, condition, pubKeyEncoding, contents.data);
    keys.push(pubKey);
    count += 1;
    if (SEQUENTIAL.has(condition.hashMode)) next = nextSigHash;
  }
  const required = condition.signaturesRequired;
  if (SEQUENTIAL.has(condition.hashMode) ? count !== required : count < required) {
    throw new InvalidTransaction(`${count} signatures where ${required} are required`);
  }
  return { keys, encodings, required, next };
}

/** @param {any} condition @param {string} current hash @param {number} kind @returns {string} the hash that comes after */
function checkedCondition(condition, current, kind) {
  const { keys, encodings, required, next } = keysOf(condition, current, kind);
  if (SEGWIT.has(condition.hashMode) && encodings.some((one) => one !== COMPRESSED)) {
    throw new InvalidTransaction('uncompressed keys are not allowed in this hash mode');
  }
  if (addressFromPublicKeys(0, condition.hashMode, required, keys).hash160 !== condition.signer) {
    throw new InvalidTransaction('the signer hash is not that of the public keys that signed');
  }
  return next;
}

/** @param {{raw: Buffer, wire: any}} transaction throws InvalidTransaction */
export function checkSignatures({ raw, wire }) {
  const { authType, spendingCondition, sponsorSpendingCondition } = wire.auth;
  const current = checkedCondition(spendingCondition, initialHash(raw, wire.auth), AuthType.Standard);
  if (authType === AuthType.Sponsored) checkedCondition(sponsorSpendingCondition, current, AuthType.Sponsored);
}
