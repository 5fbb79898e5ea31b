import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SelfSigned, selfSigned } from '@proxycache/test-kit';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Certificate, readCertificate, watchCertificate } from './certificate.ts';

const folder = mkdtempSync(join(tmpdir(), 'proxycache-certificate-'));
const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
let made: SelfSigned;

beforeAll(async () => {
  made = await selfSigned();
});
afterAll(() => rmSync(folder, { recursive: true }));

function write({ cert, key }: Partial<Certificate>): void {
  if (cert !== undefined) writeFileSync(files.cert, cert);
  if (key !== undefined) writeFileSync(files.key, key);
}

describe('reading', () => {
  test('a certificate and its key', () => {
    write(made.server);
    expect(readCertificate(files)).toEqual({ cert: made.server.cert, key: made.server.key });
  });

  test.each<[string, () => Partial<Certificate>, string]>([
    ['a key of another certificate', () => ({ ...made.server, key: made.client.key }), 'is not the key of'],
    ['what is no certificate', () => ({ ...made.server, cert: 'x' }), 'expected a certificate and its key as PEM'],
    ['what is no key', () => ({ ...made.server, key: 'x' }), 'expected a certificate and its key as PEM'],
  ])('%s is refused', (_, content, message) => {
    write(content());
    expect(() => readCertificate(files)).toThrow(`listen.tls: `);
    expect(() => readCertificate(files)).toThrow(message);
  });

  test('a file that is not there is named', () => {
    expect(() => readCertificate({ ...files, key: join(folder, 'none') })).toThrow(
      /^listen\.tls\.key: cannot be read: ENOENT.*none/,
    );
  });
});

describe('watching', () => {
  const onChange = vi.fn<(certificate: Certificate) => void>();
  const onProblem = vi.fn<(error: unknown) => void>();

  beforeEach(() => {
    vi.useFakeTimers();
    onChange.mockReset();
    onProblem.mockReset();
    write(made.server);
    const end = watchCertificate(files, { inUse: readCertificate(files), everyMs: 1000, onChange, onProblem });
    return () => {
      end();
      vi.useRealTimers();
    };
  });

  test('files that stay the same change nothing', () => {
    vi.advanceTimersByTime(10_000);
    expect(onChange).not.toHaveBeenCalled();
    expect(onProblem).not.toHaveBeenCalled();
  });

  test('a new certificate is handed over once', () => {
    write(made.client);
    vi.advanceTimersByTime(10_000);
    expect(onChange.mock.calls).toEqual([[{ cert: made.client.cert, key: made.client.key }]]);
  });

  test('while only one of the two was written the one in use stays, which is said once', () => {
    write({ cert: made.client.cert });
    vi.advanceTimersByTime(10_000);
    expect(onChange).not.toHaveBeenCalled();
    expect(onProblem).toHaveBeenCalledTimes(1);
    write({ key: made.client.key });
    vi.advanceTimersByTime(1000);
    expect(onChange).toHaveBeenCalledTimes(1);
  });

  test('a certificate that cannot be taken over is tried again', () => {
    onChange.mockImplementationOnce(() => {
      throw new Error('refused');
    });
    write(made.client);
    vi.advanceTimersByTime(2000);
    expect(onProblem).toHaveBeenCalledTimes(1);
    expect(onChange).toHaveBeenCalledTimes(2);
  });
});
