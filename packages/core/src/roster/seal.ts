import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/** Makes texts unreadable for whoever has not the key, and notices any change of them or of what they are about. */
export interface Seal {
  /** @param about what has to be the same when it is opened */
  close(text: string, about: string): string;
  /** @throws what the cipher throws: another key, another text, or about something else */
  open(sealed: string, about: string): string;
}

// NIST SP 800-38D: 96 bits of a random nonce, and the whole tag.
const cipherName = 'aes-256-gcm';
const nonceBytes = 12;
const tagBytes = 16;

/** @param secret what the key is derived from, RFC 5869; the same secret may be used for something else */
export function createSeal(secret: string | Uint8Array): Seal {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'proxycache upstreams', 32));
  return {
    close(text, about) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv(cipherName, key, nonce).setAAD(Buffer.from(about));
      const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
    },
    open(sealed, about) {
      const bytes = Buffer.from(sealed, 'base64url');
      const [nonce, tag] = [bytes.subarray(0, nonceBytes), bytes.subarray(nonceBytes, nonceBytes + tagBytes)];
      const cipher = createDecipheriv(cipherName, key, nonce, { authTagLength: tagBytes });
      cipher.setAAD(Buffer.from(about)).setAuthTag(tag);
      return cipher.update(bytes.subarray(nonceBytes + tagBytes), undefined, 'utf8') + cipher.final('utf8');
    },
  };
}
