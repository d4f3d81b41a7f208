/** Whether the arguments of a call are of the types that the contract's interface names. */
import { ClarityType, deserializeCV } from '@stacks/transactions';

const simple = {
  uint128: [ClarityType.UInt],
  int128: [ClarityType.Int],
  bool: [ClarityType.BoolTrue, ClarityType.BoolFalse],
  principal: [ClarityType.PrincipalStandard, ClarityType.PrincipalContract],
  trait_reference: [ClarityType.PrincipalContract],
  none: [],
};

/** What the VM takes as ASCII; it dies of anything else. */
const ASCII = /^[\x20-\x7e\t\n\f\r]*$/;

const isResponse = (value) => value.type === ClarityType.ResponseOk || value.type === ClarityType.ResponseErr;

/** Each takes what the interface says inside, and the value. */
const compound = {
  buffer: ({ length }, value) => value.type === ClarityType.Buffer && value.value.length / 2 <= length,
  'string-ascii': ({ length }, value) =>
    value.type === ClarityType.StringASCII && value.value.length <= length && ASCII.test(value.value),
  'string-utf8': ({ length }, value) =>
    value.type === ClarityType.StringUTF8 && Array.from(value.value).length <= length,
  optional: (inner, value) =>
    value.type === ClarityType.OptionalNone || (value.type === ClarityType.OptionalSome && fits(inner, value.value)),
  response: ({ ok, error }, value) =>
    isResponse(value) && fits(value.type === ClarityType.ResponseOk ? ok : error, value.value),
  list: ({ type, length }, value) =>
    value.type === ClarityType.List && value.value.length <= length && value.value.every((one) => fits(type, one)),
  tuple: (fields, value) =>
    value.type === ClarityType.Tuple
    && Object.keys(value.value).length === fields.length
    && fields.every(({ name, type }) => Object.hasOwn(value.value, name) && fits(type, value.value[name])),
};

/** @param {any} type of an interface @param {any} value @returns {boolean} */
function fits(type, value) {
  if (typeof type === 'string') return simple[type].includes(value.type);
  const [[name, inner]] = Object.entries(type);
  return compound[name](inner, value);
}

/**
 * @param {{name: string, type: any}[]} parameters of the interface
 * @param {string[]} args serialized, hex
 * @returns {string | null} what is wrong; null when all fit
 */
export function argumentFault(parameters, args) {
  if (parameters.length !== args.length) return `expecting ${parameters.length} arguments, got ${args.length}`;
  for (const [index, { name, type }] of parameters.entries()) {
    if (!fits(type, deserializeCV(args[index]))) return `argument ${name} is not of type ${JSON.stringify(type)}`;
  }
  return null;
}
