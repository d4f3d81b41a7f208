/**
 * The Stacks JavaScript libraries behind JSON lines: {"op": name, ...} -> {"ok": value} or {"error": message}, in order.
 *
 *   build      {description}        a transaction as describe.py says it, signed -> {hex, txid}
 *   read       {hex}                its signatures proven -> {txid, hex, fields}
 *   value      {value}              -> {hex, text}
 *   read_value {hex}                -> {hex, text}
 *   plain      {key, message}       -> {hash, signature}
 *   structured {key, domain, message}  values in hex -> {hash, signature}
 *   recover    {hash, signature}    r||s||v -> {public_key}
 *   address    {text}               -> {valid}
 */
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const require = createRequire(new URL('../../deploy/wallet/package.json', import.meta.url));
const S = require('@stacks/transactions');
const { hashMessage } = require('@stacks/encryption');

const BODIES = {
  int: (v) => S.Cl.int(BigInt(v)),
  uint: (v) => S.Cl.uint(BigInt(v)),
  bool: (v) => S.Cl.bool(v),
  buffer: (v) => S.Cl.bufferFromHex(v),
  'string-ascii': (v) => S.Cl.stringAscii(v),
  'string-utf8': (v) => S.Cl.stringUtf8(v),
  principal: (v) => S.Cl.principal(v),
  none: () => S.Cl.none(),
  some: (v) => S.Cl.some(toValue(v)),
  ok: (v) => S.Cl.ok(toValue(v)),
  err: (v) => S.Cl.error(toValue(v)),
  list: (v) => S.Cl.list(v.map(toValue)),
  tuple: (v) => S.Cl.tuple(Object.fromEntries(v.map(([name, item]) => [name, toValue(item)]))),
};

function toValue({ type, value }) {
  return BODIES[type](value);
}

function toPayload(kind, payload) {
  if (kind === 'stx-transfer') return S.createTokenTransferPayload(payload.recipient, BigInt(payload.amount), payload.memo);
  if (kind === 'contract-deploy') {
    return S.createSmartContractPayload(payload.contract_name, payload.code_body, payload.clarity_version ?? undefined);
  }
  return S.createContractCallPayload(
    payload.contract_address, payload.contract_name, payload.function_name, payload.args.map(toValue),
  );
}

function toPostCondition({ assetId, ...rest }) {
  return S.postConditionToWire(assetId === undefined ? rest : { ...rest, assetId: toValue(assetId) });
}

const publicKeyOf = (key) => S.privateKeyToPublic(key);

function toCondition({ hash_mode: mode, private_keys: keys, threshold, nonce, fee }) {
  const paid = [BigInt(nonce), BigInt(fee)];
  if (threshold === undefined) return S.createSingleSigSpendingCondition(mode, publicKeyOf(keys[0]), ...paid);
  return S.createMultiSigSpendingCondition(mode, threshold, keys.map(publicKeyOf), ...paid);
}

function build(description) {
  const { origin, sponsor } = description;
  const condition = toCondition(origin);
  const transaction = new S.StacksTransactionWire({
    transactionVersion: description.tx_version,
    chainId: description.chain_id,
    auth: sponsor === null ? S.createStandardAuth(condition) : S.createSponsoredAuth(condition),
    payload: toPayload(description.kind, description.payload),
    postConditions: S.createLPList(description.post_conditions.map(toPostCondition)),
    postConditionMode: description.post_condition_mode,
  });
  transaction.anchorMode = description.anchor_mode;
  const signer = new S.TransactionSigner(transaction);
  origin.private_keys.forEach((key, index) => {
    if (origin.signer_indexes.includes(index)) signer.signOrigin(key);
    else signer.appendOrigin(publicKeyOf(key));
  });
  if (sponsor === null) return transaction;
  // Not by createSponsorSigner: it throws at an origin of several keys that has all its signatures.
  transaction.setSponsor(toCondition(sponsor));
  transaction.signNextSponsor(transaction.verifyOrigin(), sponsor.private_keys[0]);
  return transaction;
}

function accountFields(condition) {
  if (condition === undefined) return null;
  return {
    hash_mode: condition.hashMode, signer: condition.signer, nonce: String(condition.nonce), fee: String(condition.fee),
  };
}

function payloadFields(payload) {
  if (payload.payloadType === S.PayloadType.TokenTransfer) {
    return { recipient: S.cvToString(payload.recipient), amount: String(payload.amount), memo: payload.memo.content };
  }
  if (payload.payloadType === S.PayloadType.ContractCall) {
    return {
      contract: `${S.addressToString(payload.contractAddress)}.${payload.contractName.content}`,
      function: payload.functionName.content,
      arguments: payload.functionArgs.map((argument) => S.serializeCV(argument)),
    };
  }
  return {
    name: payload.contractName.content, code: payload.codeBody.content, clarity_version: payload.clarityVersion ?? null,
  };
}

function read(hex) {
  const transaction = S.deserializeTransaction(hex);
  transaction.verifyOrigin();
  return {
    txid: transaction.txid(),
    hex: transaction.serialize(),
    fields: {
      tx_version: transaction.transactionVersion,
      chain_id: transaction.chainId,
      anchor_mode: transaction.anchorMode,
      post_condition_mode: transaction.postConditionMode,
      post_conditions: transaction.postConditions.values.map((one) => S.serializePostConditionWire(one)),
      origin: accountFields(transaction.auth.spendingCondition),
      sponsor: accountFields(transaction.auth.sponsorSpendingCondition),
      payload: payloadFields(transaction.payload),
    },
  };
}

function signed(hash, key) {
  return { hash, signature: S.signMessageHashRsv({ messageHash: hash, privateKey: key }) };
}

function structured({ key, domain, message }) {
  const parts = { domain: S.deserializeCV(domain), message: S.deserializeCV(message) };
  const encoded = S.encodeStructuredDataBytes(parts);
  const hash = require('node:crypto').createHash('sha256').update(encoded).digest('hex');
  return { hash, signature: S.signStructuredData({ ...parts, privateKey: key }) };
}

const described = (value) => ({ hex: S.serializeCV(value), text: S.cvToString(value) });

const OPERATIONS = {
  build: ({ description }) => {
    const transaction = build(description);
    return { hex: transaction.serialize(), txid: transaction.txid() };
  },
  read: ({ hex }) => read(hex),
  value: ({ value }) => described(toValue(value)),
  read_value: ({ hex }) => described(S.deserializeCV(hex)),
  plain: ({ key, message }) => signed(Buffer.from(hashMessage(message)).toString('hex'), key),
  structured,
  recover: ({ hash, signature }) => ({ public_key: S.publicKeyFromSignatureRsv(hash, signature) }),
  address: ({ text }) => ({ valid: S.validateStacksAddress(text) }),
};

async function answer(request) {
  try {
    return { ok: await OPERATIONS[request.op](request) };
  } catch (error) {
    // The boundary of the process: what the library refuses goes back to who asked.
    return { error: String(error?.message ?? error) };
  }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
