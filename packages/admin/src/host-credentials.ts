import { ProxyCacheError, type UpstreamAuth } from '@proxycache/core';

/** What of an upstream's options says how we authenticate. */
interface WithAuth {
  auth?: UpstreamAuth | null | undefined;
  endpoints?: readonly (string | { auth?: UpstreamAuth })[] | null | undefined;
}

const ofTheHost = ['usernameFile', 'passwordFile', 'helper', 'exec'];

/**
 * Refuses credentials that name files or programs of the host: whoever may use the API could have it read or run any.
 *
 * @throws ProxyCacheError `denied`
 */
export function refuseHostCredentials({ auth, endpoints }: WithAuth): void {
  for (const one of [
    auth,
    ...(endpoints ?? []).map((endpoint) => (typeof endpoint === 'string' ? null : endpoint.auth)),
  ]) {
    const named = typeof one === 'object' && one !== null ? ofTheHost.find((name) => name in one) : undefined;
    if (named === undefined) continue;
    const message = `auth.${named}: files and programs of the host are not taken over the API; its option allow.hostCredentials would`;
    throw new ProxyCacheError('denied', message);
  }
}
