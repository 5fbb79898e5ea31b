import { createHmac } from 'node:crypto';

/** A user's name and password, as a client sends them. */
export interface BasicCredential {
  username: string;
  password: string;
}

/**
 * Whoever an upstream is asked for with a credential of its own. It is in memory alone, for as long as something is done
 * for that caller: nothing that prints, copies or stores this finds the credential.
 */
export interface Caller {
  /** Stands for the credential at this upstream, part of every link, token and collapse key. Nothing can be read back from it. */
  readonly scope: string;
  reveal(): BasicCredential;
}

/** Names the callers of one upstream. @param secret without it nobody can tell which credential a scope stands for */
export function createCallerOf(upstream: string, secret: string | Uint8Array): (credential: BasicCredential) => Caller {
  return ({ username, password }) => {
    // As JSON: no end of one text can pass for the beginning of the next.
    const text = JSON.stringify([upstream, username, password]);
    const scope = createHmac('sha256', secret).update(text).digest('base64url');
    return { scope, reveal: () => ({ username, password }) };
  };
}
