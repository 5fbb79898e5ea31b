/** A token, and for how many ms from its receipt on it may be used. */
export interface TokenAnswer {
  token: string;
  lifetime: number;
}

// Docker token authentication: 60 s where the service does not say.
const defaultLifetime = 60;

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
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) return undefined;
  const told = Number(body?.['expires_in']);
  const lifetime = (told > 0 ? told : defaultLifetime) * 1_000;
  const age = now - Date.parse(String(body?.['issued_at']));
  return { token, lifetime: age > 0 && age < lifetime ? lifetime - age : lifetime };
}

/** Whether a refusal is the token service's own: JSON of any shape, because there is no standard one. */
export function isTokenServiceVoice(bytes: Uint8Array | undefined): boolean {
  return bytes !== undefined && parseObject(bytes) !== undefined;
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
