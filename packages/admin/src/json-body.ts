import { type Clock, type HttpRequest, ProxyCacheError } from '@proxycache/core';

/** The longest body that is read. */
const mostBodyBytes = 1024 * 1024;
/** How deep lists and objects may stand in one another. */
const mostDepth = 16;
/** How long it may take to come: whoever sends none of it keeps nobody else from being answered. */
const bodyWithinMs = 10_000;

/**
 * The JSON of a request; `undefined`: it has no body.
 *
 * @throws ProxyCacheError `invalid-options` for what is no JSON or goes too deep, `body-too-large`, `aborted`
 */
export async function readJson(request: HttpRequest, clock: Clock): Promise<unknown> {
  const bytes = await readInTime(request, clock);
  if (bytes.byteLength === 0) return undefined;
  if (depthOf(bytes) > mostDepth) throw new ProxyCacheError('invalid-options', `body: deeper than ${mostDepth} levels`);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    // Not the parser's own words: they quote the body, and a secret may stand there.
    throw new ProxyCacheError('invalid-options', 'body: expected JSON in UTF-8');
  }
}

async function readInTime(request: HttpRequest, clock: Clock): Promise<Uint8Array> {
  let cancel = (): void => undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new ProxyCacheError('aborted', `the request body did not come within ${bodyWithinMs / 1000} s`);
    cancel = clock.after(bodyWithinMs, () => reject(error));
  });
  try {
    return await Promise.race([request.body(mostBodyBytes), late]);
  } finally {
    cancel();
  }
}

/** RFC 9110 8.3: parameters may follow, and case does not matter. */
export function isJson(contentType: string | null): boolean {
  return contentType !== null && /^application\/json[ \t]*(;|$)/i.test(contentType.trim());
}

const [quote, backslash, openList, closeList, openObject, closeObject] = Buffer.from('"\\[]{}');

/** Counted before it is parsed: what reads it later goes down as deep as it is. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let inText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inText) {
      if (byte === backslash) at++;
      else if (byte === quote) inText = false;
    } else if (byte === quote) inText = true;
    else if (byte === openList || byte === openObject) deepest = Math.max(deepest, ++depth);
    else if (byte === closeList || byte === closeObject) depth--;
  }
  return deepest;
}
