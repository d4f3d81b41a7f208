/** Clarity values as source text, for the expressions that the VM evaluates. */
import { ClarityType, deserializeCV } from '@stacks/transactions';

/** @param {string} text the inside of a string literal */
function escaped(text) {
  const names = { '\\': '\\\\', '"': '\\"', '\n': '\\n', '\t': '\\t', '\r': '\\r' };
  return text.replace(/[\\"\n\t\r]/g, (one) => names[one]);
}

/** Text outside ASCII is written by code point. */
function escapedUtf8(text) {
  const parts = Array.from(text, (one) => {
    const point = one.codePointAt(0);
    return point >= 0x20 && point < 0x7f ? escaped(one) : `\\u{${point.toString(16).toUpperCase()}}`;
  });
  return parts.join('');
}

const writers = {
  [ClarityType.Int]: ({ value }) => String(value),
  [ClarityType.UInt]: ({ value }) => `u${value}`,
  [ClarityType.Buffer]: ({ value }) => `0x${value}`,
  [ClarityType.BoolTrue]: () => 'true',
  [ClarityType.BoolFalse]: () => 'false',
  [ClarityType.PrincipalStandard]: ({ value }) => `'${value}`,
  [ClarityType.PrincipalContract]: ({ value }) => `'${value}`,
  [ClarityType.OptionalNone]: () => 'none',
  [ClarityType.OptionalSome]: ({ value }) => `(some ${sourceOf(value)})`,
  [ClarityType.ResponseOk]: ({ value }) => `(ok ${sourceOf(value)})`,
  [ClarityType.ResponseErr]: ({ value }) => `(err ${sourceOf(value)})`,
  [ClarityType.List]: ({ value }) => `(list ${value.map(sourceOf).join(' ')})`,
  [ClarityType.Tuple]: ({ value }) =>
    `{${Object.entries(value).map(([name, field]) => `${name}: ${sourceOf(field)}`).join(', ')}}`,
  [ClarityType.StringASCII]: ({ value }) => `"${escaped(value)}"`,
  [ClarityType.StringUTF8]: ({ value }) => `u"${escapedUtf8(value)}"`,
};

/** @param {import('@stacks/transactions').ClarityValue} value @returns {string} */
export function sourceOf(value) {
  return writers[value.type](value);
}

/** @param {string} hex a serialized Clarity value @returns {string} */
export function sourceOfHex(hex) {
  return sourceOf(deserializeCV(hex));
}
