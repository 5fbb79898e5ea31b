import type { UpstreamAuth } from '../upstream/credentials.ts';
import type { UpstreamEndpoint, UpstreamOptions, UpstreamTls } from '../upstream/upstream-options.ts';
import type { Entry } from './entry.ts';

/** How we authenticate somewhere, without what proves it. */
export interface AuthSummary {
  kind: 'anonymous' | 'basic' | 'token' | 'files' | 'helper' | 'exec' | 'provider' | 'reference';
  /** Of `basic`. */
  username?: string;
  /** Of `reference`. */
  reference?: string;
}

type Shown = {
  auth: AuthSummary;
  /** `hasKey`: there is a private key, too. */
  tls?: Omit<UpstreamTls, 'key'> & { hasKey?: true };
  /** Without its user and password. */
  proxy?: string;
};

/** An upstream's options as they hold now; what has its default is left out, and no secret is in it. */
export type UpstreamSummary = Omit<UpstreamOptions, 'auth' | 'tls' | 'proxy' | 'endpoints'> &
  Shown & {
    endpoints?: readonly (Omit<UpstreamEndpoint, 'auth' | 'tls' | 'proxy'> & Shown)[];
    /** Whether the options of the cache name it, or it was added since. */
    origin: 'options' | 'added';
    /** How often it was changed while a cache ran: 0 of what is as the options say. */
    revision: number;
    /** Why it cannot be used, where it cannot. */
    unusable?: string;
  };

/** @param entry.options what of them can be read */
export function summaryOf(
  key: string,
  entry: Exclude<Entry, { kind: 'removed' }>,
  origin: UpstreamSummary['origin'],
): UpstreamSummary {
  const { endpoints, ...options } = entry.options ?? { key, url: '' };
  return {
    ...shown(options),
    ...(endpoints && { endpoints: endpoints.map((one) => shown(typeof one === 'string' ? { url: one } : one)) }),
    origin,
    revision: entry.revision,
    ...(entry.kind === 'unusable' && { unusable: entry.error.message }),
  };
}

function shown<T extends UpstreamEndpoint>({ auth, tls, proxy, ...options }: T): Omit<T, keyof Shown> & Shown {
  return {
    ...options,
    auth: authSummary(auth),
    ...(tls && { tls: tlsSummary(tls) }),
    ...(proxy !== undefined && { proxy: withoutUser(proxy) }),
  };
}

function tlsSummary({ key, ...tls }: UpstreamTls): NonNullable<Shown['tls']> {
  return { ...tls, ...(key !== undefined && { hasKey: true }) };
}

function withoutUser(proxy: string): string {
  const url = new URL(proxy);
  url.username = '';
  url.password = '';
  return url.href;
}

function authSummary(auth: UpstreamAuth = 'anonymous'): AuthSummary {
  if (typeof auth === 'string') return { kind: 'anonymous' };
  if (typeof auth === 'function') return { kind: 'provider' };
  if ('token' in auth) return { kind: 'token' };
  if ('usernameFile' in auth) return { kind: 'files' };
  if ('reference' in auth) return { kind: 'reference', reference: auth.reference };
  if ('helper' in auth) return { kind: 'helper' };
  return 'exec' in auth ? { kind: 'exec' } : { kind: 'basic', username: auth.username };
}
