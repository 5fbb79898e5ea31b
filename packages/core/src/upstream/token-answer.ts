/** A token, and for how many ms from its receipt on it may be used. */
export interface TokenAnswer {
  token: string;
  lifetime: number;
}

// Docker token authentication: 60 s where the service does not say.
const defaultLifetime = 60;
// Twice what most servers take as all headers of a request. Thousands of tokens are kept.
const longestToken = 32 * 1024;

/**
 * Reads a token service's answer: `token` or `access_token`, `expires_in` in seconds, `issued_at` (Docker token
 * authentication specification). Without `issued_at`, or where the two clocks differ, the time of receipt counts.
 *
 * @returns `undefined` for what is no such answer
 */
export function parseTokenAnswer(bytes: Uint8Array, now: number): TokenAnswer | undefined {
  const body = parseObject(bytes);
  const token = [body?.['token'], body?.['access_token']].find((value) => typeof value === 'string' && value !== '');
  // It goes into a header: anything but visible ASCII would break out of it.
  if (typeof token !== 'string' || token.length > longestToken || !/^[\x21-\x7e]+$/.test(token)) return undefined;
  const told = Number(plain(body?.['expires_in']));
  const lifetime = (told > 0 ? told : defaultLifetime) * 1_000;
  const age = now - Date.parse(String(plain(body?.['issued_at'])));
  return { token, lifetime: age > 0 && age < lifetime ? lifetime - age : lifetime };
}

/** Whether a refusal is the token service's own: JSON of any shape, because there is no standard one. */
export function isTokenServiceVoice(bytes: Uint8Array | undefined): boolean {
  return bytes !== undefined && parseObject(bytes) !== undefined;
}

/** Text or a number; of anything else nothing is made: turning a list nested without an end into text overruns the stack. */
function plain(value: unknown): string | number | undefined {
  return typeof value === 'string' || typeof value === 'number' ? value : undefined;
}

function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    // The cause is dropped on purpose: its message quotes the text, which may hold a token.
    return undefined;
  }
}
