import { ProxyCacheError, type UpstreamAuth } from '@proxycache/core';

/** What of an upstream's options says how we authenticate. */
interface WithAuth {
  auth?: UpstreamAuth | null | undefined;
  endpoints?: readonly (string | { auth?: UpstreamAuth })[] | null | undefined;
}

/** Which of the host's own credentials may be named. */
interface Allowed {
  hostCredentials: boolean;
  references: boolean;
}

const ofTheHost = ['usernameFile', 'passwordFile', 'helper', 'exec'];

/**
 * Refuses credentials that are the host's own: files and programs, of which whoever may use the API could have any read or
 * run, and references, of which he could have any sent to a URL of his own without ever being told it.
 *
 * @throws ProxyCacheError `denied`
 */
export function refuseHostCredentials({ auth, endpoints }: WithAuth, allowed: Allowed): void {
  const ofEndpoints = (endpoints ?? []).map((one) => (typeof one === 'string' ? undefined : one.auth));
  for (const one of [auth, ...ofEndpoints]) {
    if (typeof one !== 'object' || one === null) continue;
    const named = ofTheHost.find((name) => name in one);
    if (named !== undefined && !allowed.hostCredentials) {
      throw denied(`auth.${named}: files and programs of the host`, 'hostCredentials');
    }
    if ('reference' in one && !allowed.references) throw denied("auth.reference: the host's own secrets", 'references');
  }
}

function denied(what: string, option: keyof Allowed): ProxyCacheError {
  const message = `${what} are not taken over the API; its option allow.${option} would`;
  return new ProxyCacheError('denied', message);
}
