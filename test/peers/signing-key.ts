import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** A key that signs tokens, and a certificate that makes a registry trust it. */
export interface SigningKey {
  /** The self-signed certificate, PEM. */
  certificate: string;
  /** A JSON Web Token of these claims, ES256 (RFC 7519, RFC 7518 3.4). */
  signToken(claims: object): string;
}

/** Makes a P-256 key with a certificate for the next day. */
export function createSigningKey(): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const header = { typ: 'JWT', alg: 'ES256', kid: keyIdOf(publicKey) };
  return {
    certificate: certificateOf(publicKey, privateKey),
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

// DER (X.690), no more of it than a self-signed certificate (RFC 5280 4.1) takes.

function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const value = Buffer.concat(parts);
  const size = value.length;
  // X.690 8.1.3: one byte for a short length, else its bytes after their count.
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Uint8Array.from([tag, ...length]), value]);
}

const sequence = (...parts: readonly Uint8Array[]) => der(0x30, ...parts);
const utcTime = (at: Date) => der(0x17, Buffer.from(`${at.toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));

const ecdsaWithSha256 = sequence(der(0x06, Buffer.from('2a8648ce3d040302', 'hex')));
const commonName = Buffer.from('550403', 'hex');

function certificateOf(publicKey: KeyObject, privateKey: KeyObject): string {
  const now = Date.now();
  const hour = 3_600_000;
  const name = sequence(der(0x31, sequence(der(0x06, commonName), der(0x0c, Buffer.from('token server')))));
  const body = sequence(
    der(0xa0, der(0x02, Uint8Array.from([2]))),
    der(0x02, Uint8Array.from([1])),
    ecdsaWithSha256,
    name,
    sequence(utcTime(new Date(now - hour)), utcTime(new Date(now + 24 * hour))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = sign('sha256', body, privateKey);
  const certificate = sequence(body, ecdsaWithSha256, der(0x03, Uint8Array.from([0]), signature));
  const lines =
    Buffer.from(certificate)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
