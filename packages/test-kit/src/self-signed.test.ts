import { X509Certificate } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { selfSigned } from './self-signed.ts';

test('makes a server and a client certificate that its authority signed', async () => {
  const { ca, server, client } = await selfSigned({ hosts: ['registry.test'] });
  const authority = new X509Certificate(ca);
  expect(authority.ca).toBe(true);
  for (const { cert } of [server, client]) {
    expect(new X509Certificate(cert).verify(authority.publicKey)).toBe(true);
  }
  const certificate = new X509Certificate(server.cert);
  expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1');
  expect(certificate.checkHost('registry.test')).toBe('registry.test');
  expect(certificate.checkHost('other.test')).toBeUndefined();
});

test('says what is missing where there is no openssl', async () => {
  vi.stubEnv('PATH', '/nowhere');
  await expect(selfSigned()).rejects.toThrow('needs the openssl program');
  vi.unstubAllEnvs();
});
