/** The HTTP server: finds the route, reads the body, writes JSON. What the routes do is theirs. */
import { createServer } from 'node:http';

const MAX_BODY = 4 * 1024 * 1024;

/** An answer other than a handler's own. */
export class HttpError extends Error {
  /** @param {number} status @param {object | string} body text is sent as it is @param {object} [headers] */
  constructor(status, body, headers = {}) {
    super(String(status));
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

/** No answer: the connection is reset. */
export class Hangup extends Error {}

/** @param {string} message */
export const badRequest = (message) => new HttpError(400, { statusCode: 400, error: 'Bad Request', message });
/** @param {string} message */
export const notFound = (message) => new HttpError(404, { statusCode: 404, error: 'Not Found', message });

export class Request {
  /** @param {string[]} params from the path @param {URLSearchParams} query @param {string} type @param {Buffer} body */
  constructor(params, query, type, body) {
    this.params = params;
    this.query = query;
    this.type = type;
    this.body = body;
  }

  /** The body as a JSON object; throws HttpError. */
  json() {
    try {
      const value = JSON.parse(this.body.toString('utf8'));
      if (value !== null && typeof value === 'object' && !Array.isArray(value)) return value;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    throw badRequest('the body is not a JSON object');
  }

  /** A whole number of the query. @param {string} name @param {number} fallback @param {number} [most] */
  number(name, fallback, most = Number.MAX_SAFE_INTEGER) {
    const text = this.query.get(name);
    if (text === null) return fallback;
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value <= most)) throw badRequest(`${name} must be a whole number of at most ${most}`);
    return value;
  }
}

/**
 * @typedef {(request: Request) => unknown} Handler  gives what is sent as JSON, or a promise of it; throws HttpError
 * @typedef {[method: string, path: RegExp, handler: Handler]} Route  groups of the path become params
 */

/** @param {import('node:http').IncomingMessage} message @returns {Promise<Buffer>} */
async function bodyOf(message) {
  const parts = [];
  let size = 0;
  for await (const part of message) {
    size += part.length;
    if (size > MAX_BODY) throw new HttpError(413, { error: 'the body is too large' });
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    if (error instanceof URIError) throw badRequest('the path is not readable');
    throw error;
  }
}

/** @param {Route[]} routes @param {import('node:http').IncomingMessage} message
 * @param {(path: string) => Promise<void>} before */
async function dispatch(routes, message, before) {
  const url = new URL(message.url, 'http://devnet');
  const path = url.pathname.length > 1 ? url.pathname.replace(/\/$/, '') : url.pathname;
  await before(path);
  let known = false;
  for (const [method, pattern, handler] of routes) {
    const match = pattern.exec(path);
    if (match === null) continue;
    known = true;
    if (method !== message.method) continue;
    const body = ['POST', 'PUT'].includes(method) ? await bodyOf(message) : Buffer.alloc(0);
    const type = message.headers['content-type'] ?? '';
    return handler(new Request(match.slice(1).map(decoded), url.searchParams, type, body));
  }
  if (known) throw new HttpError(405, { error: 'Method Not Allowed' });
  throw notFound(`Route ${message.method}:${path} not found`);
}

/**
 * @param {() => Route[] | null} routes null: not ready yet
 * @param {(path: string) => Promise<void>} before meets every request first; may throw what it is answered instead
 * @param {(error: Error) => void} onError what no handler expected
 */
export function makeServer(routes, before, onError) {
  return createServer(async (message, response) => {
    let status = 200;
    let headers = {};
    let text;
    try {
      const ready = routes();
      if (ready === null) throw new HttpError(503, { error: 'starting' });
      text = JSON.stringify(await dispatch(ready, message, before));
    } catch (error) {
      // The boundary of a request: it answers, whatever happened.
      if (error instanceof Hangup) {
        message.socket.resetAndDestroy();
        return;
      }
      if (!(error instanceof HttpError)) onError(error);
      const answer = error instanceof HttpError ? error : new HttpError(500, { error: 'internal error' });
      ({ status, headers } = answer);
      text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body);
    }
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers });
    response.end(text);
  });
}
