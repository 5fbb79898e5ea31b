import { type ProxyCache, ProxyCacheError } from '@proxycache/core';

/**
 * Checks what an adapter is made with: a misspelt option would be passed over in silence, and what is no cache would
 * answer each request with 500.
 *
 * @param of the adapter's function, as messages begin
 * @param names the options that there are, in the order that messages tell them
 * @throws ProxyCacheError `invalid-options`
 */
export function checkAdapter(
  of: string,
  { cache, options, names }: { cache: Pick<ProxyCache, 'handle'>; options: object; names: readonly string[] },
): void {
  const wrong = (what: string) => new ProxyCacheError('invalid-options', `${of}: ${what}`);
  if (typeof Object(cache).handle !== 'function') {
    const isLater = typeof Object(cache).then === 'function';
    const received = isLater ? 'a promise; did you forget to await it?' : kindOf(cache);
    throw wrong(`cache: expected what createProxyCache or createAdmin gives, received ${received}`);
  }
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw wrong(`options: expected an object, received ${kindOf(options)}`);
  }
  for (const [name, value] of Object.entries(options)) {
    if (!names.includes(name)) throw wrong(`${name}: there is no such option; there are ${names.join(', ')}`);
    const isHook = name === 'context' || name === 'onError';
    if (isHook && value !== undefined && typeof value !== 'function') {
      throw wrong(`${name}: expected a function, received ${kindOf(value)}`);
    }
  }
}

/** What something is, without showing it: what stands in the wrong place may be a credential. */
function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
