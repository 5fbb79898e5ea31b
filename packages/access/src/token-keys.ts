import { createHash, createHmac, createPrivateKey, createPublicKey, type JsonWebKey, KeyObject } from 'node:crypto';
import { ProxyCacheError } from '@proxycache/core';

/** A set of public keys (RFC 7517 5). */
export interface JsonWebKeySet {
  keys: readonly JsonWebKey[];
}

/**
 * What tokens are signed with, the same on every replica: a shared secret, or a private key whose public half others
 * may verify by.
 */
export type TokenKeys =
  | {
      /** 32 bytes or more. Of a list the first signs, and all verify: to rotate, put the new one first. */
      secret: string | Uint8Array | readonly (string | Uint8Array)[];
    }
  | {
      /** PEM: EC (P-256, P-384, P-521), or RSA of at least 2048 bits. */
      privateKey: string | KeyObject;
      /** Public keys that verify beside it: those before and after it, while keys rotate. */
      jwks?: JsonWebKeySet;
    };

/** A key that tokens are verified by, for one algorithm and no other (RFC 8725 3.1). */
export interface VerifyingKey {
  kid: string | undefined;
  alg: string;
  key: KeyObject | Uint8Array;
}

type PublicKey = VerifyingKey & { key: KeyObject };

/** The keys of a token service. */
export interface ServiceKeys {
  signing: VerifyingKey & { kid: string };
  verifying: readonly VerifyingKey[];
  /** The public halves as others read them; `undefined`: they are secrets. */
  published: JsonWebKeySet | undefined;
}

const shortestSecret = 32;
const shortestRsa = 2048;
const algorithmsOfCurves: Readonly<Record<string, string>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
};
const rsaAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];

/** @throws ProxyCacheError `invalid-options`, without what was received: it may be a secret */
export function readKeys(path: string, keys: TokenKeys): ServiceKeys {
  if (typeof keys === 'object' && keys !== null && 'secret' in keys !== 'privateKey' in keys) {
    return 'secret' in keys ? readSecrets(`${path}.secret`, keys.secret) : readPair(path, keys);
  }
  throw wrong(path, 'expected either "secret" or "privateKey"');
}

/** Shared secrets, each for HS256. @throws as {@link readKeys} */
export function readSecrets(path: string, given: string | Uint8Array | readonly (string | Uint8Array)[]): ServiceKeys {
  const list = Array.isArray(given) ? given : [given];
  const verifying = list.map((secret: unknown) => {
    const bytes = typeof secret === 'string' ? Buffer.from(secret) : secret;
    // RFC 7518 3.2: a key of the same size as the hash output or larger.
    if (!(bytes instanceof Uint8Array) || bytes.length < shortestSecret) {
      throw wrong(path, `expected a secret of at least ${shortestSecret} bytes`);
    }
    // By the secret itself as key, so that the id tells nothing of it that a signature does not.
    const kid = createHmac('sha256', bytes).update('proxycache key id').digest('base64url').slice(0, 16);
    return { kid, alg: 'HS256', key: bytes };
  });
  const [signing] = verifying;
  if (!signing) throw wrong(path, 'expected a secret, or a list of secrets that is not empty');
  return { signing, verifying, published: undefined };
}

function readPair(
  path: string,
  { privateKey, jwks = { keys: [] } }: Extract<TokenKeys, { privateKey: unknown }>,
): ServiceKeys {
  const key = readPrivateKey(`${path}.privateKey`, privateKey);
  const publicKey = createPublicKey(key);
  const alg = algorithmOf(publicKey, undefined);
  if (alg === undefined) {
    throw wrong(
      `${path}.privateKey`,
      `expected an EC key (P-256, P-384, P-521), or RSA of at least ${shortestRsa} bits`,
    );
  }
  const own = { kid: thumbprint(publicKey), alg, key: publicKey };
  const others = readJwks(`${path}.jwks`, jwks).map((one) => ({ ...one, kid: one.kid ?? thumbprint(one.key) }));
  const verifying = [own, ...others.filter(({ kid }) => kid !== own.kid)];
  const published = verifying.map(({ kid, alg, key }) => ({ ...key.export({ format: 'jwk' }), kid, alg, use: 'sig' }));
  return { signing: { kid: own.kid, alg, key }, verifying, published: { keys: published } };
}

function readPrivateKey(path: string, given: string | KeyObject): KeyObject {
  try {
    const key = given instanceof KeyObject ? given : createPrivateKey(given);
    if (key.type === 'private') return key;
  } catch {
    // The reason may hold a part of the key.
  }
  throw wrong(path, 'expected a private key as PEM, without a passphrase');
}

/**
 * Public keys that can verify signatures.
 *
 * @throws ProxyCacheError `invalid-options` where it is no key set, or has a key that is secret
 */
export function readJwks(path: string, jwks: JsonWebKeySet): readonly PublicKey[] {
  if (!Array.isArray(jwks?.keys)) throw wrong(path, 'expected a key set: { keys: [...] }');
  if (jwks.keys.some((jwk: JsonWebKey | null) => jwk?.kty === 'oct' || jwk?.['d'] !== undefined)) {
    throw wrong(path, 'expected public keys alone');
  }
  return usableKeys(jwks);
}

/** Those keys of a set that can verify signatures; others are passed over (RFC 7517 5). */
export function usableKeys(jwks: JsonWebKeySet): readonly PublicKey[] {
  return jwks.keys.flatMap((jwk: JsonWebKey | null) => {
    if (jwk?.['use'] !== undefined && jwk['use'] !== 'sig') return [];
    const key = publicKeyOf(jwk);
    const alg = key && algorithmOf(key, jwk?.['alg']);
    return key === undefined || alg === undefined
      ? []
      : [{ kid: typeof jwk?.['kid'] === 'string' ? jwk['kid'] : undefined, alg, key }];
  });
}

/** Finds the keys that a token of this id and algorithm may be signed with. */
export type FindKeys = (kid: string | undefined, alg: string) => readonly VerifyingKey[];

/** The key of this id for this algorithm; without an id the only one for it. */
export function keysById(keys: readonly VerifyingKey[]): FindKeys {
  return (kid, alg) => {
    const found = keys.filter((key) => key.alg === alg && (kid === undefined || key.kid === kid));
    return found.length === 1 ? found : [];
  };
}

/** The secret of this id; else all of them, as who shares a secret may call it what they like. */
export function keysOfSecrets(secrets: readonly VerifyingKey[]): FindKeys {
  return (kid, alg) => {
    const fitting = secrets.filter((secret) => secret.alg === alg);
    const named = fitting.filter((secret) => secret.kid === kid);
    return named.length > 0 ? named : fitting;
  };
}

function publicKeyOf(jwk: JsonWebKey | null): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk ?? {}, format: 'jwk' });
  } catch {
    return undefined;
  }
}

/** The one algorithm that a key is for; `undefined`: for none that we take. */
function algorithmOf(key: KeyObject, named: unknown): string | undefined {
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa' && modulusLength >= shortestRsa) {
    return rsaAlgorithms.find((alg) => alg === (named ?? 'RS256'));
  }
  const alg = key.asymmetricKeyType === 'ec' ? algorithmsOfCurves[namedCurve] : undefined;
  return named === undefined || named === alg ? alg : undefined;
}

/** RFC 7638: the hash of what makes up the key, its members in order. */
function thumbprint(key: KeyObject): string {
  const { crv, e, kty, n, x, y } = key.export({ format: 'jwk' });
  return createHash('sha256').update(JSON.stringify({ crv, e, kty, n, x, y })).digest('base64url');
}

const wrong = (path: string, expected: string) => new ProxyCacheError('invalid-options', `${path}: ${expected}`);
