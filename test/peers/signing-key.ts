import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { selfSigned } from '@proxycache/test-kit';

/** A key that signs tokens, and a certificate that makes a registry trust it. */
export interface SigningKey {
  /** PEM. */
  certificate: string;
  /** A JSON Web Token of these claims, ES256 (RFC 7519, RFC 7518 3.4). */
  signToken(claims: object): string;
}

/** Makes a key with a certificate for the next day. */
export async function createSigningKey(): Promise<SigningKey> {
  const { key, cert } = (await selfSigned()).server;
  const privateKey = createPrivateKey(key);
  const header = { typ: 'JWT', alg: 'ES256', kid: keyIdOf(createPublicKey(privateKey)) };
  return {
    certificate: cert,
    signToken(claims) {
      const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
      const signature = sign('sha256', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' });
      return `${text}.${signature.toString('base64url')}`;
    },
  };
}

/**
 * The key id that Docker's distribution 2 looks keys up by: the first 240 bits of the SHA-256 of the public key's DER,
 * in base32, in groups of four.
 */
function keyIdOf(publicKey: KeyObject): string {
  const hash = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest();
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...hash.subarray(0, 30)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const letters = (bits.match(/.{5}/g) ?? []).map((five) => alphabet[Number.parseInt(five, 2)]).join('');
  return (letters.match(/.{4}/g) ?? []).join(':');
}
