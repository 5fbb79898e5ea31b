import { createHmac, randomBytes } from 'node:crypto';
import type { Answer, Exchange } from './answer.ts';
import { type FakeHost, type FakeHostOptions, startFakeHost } from './fake-host.ts';
import { applyRange } from './range.ts';

/** A host that serves blobs by signed URLs, as registries redirect to. */
export interface FakeCdn extends FakeHost {
  /** A URL under which these bytes can be had by this method, until it expires. */
  sign(blob: { method: string; digest: string; bytes: Uint8Array }): string;
  /** Lets all URLs given so far expire. */
  expire(): void;
}

/** Options of {@link startFakeCdn}. */
export interface FakeCdnOptions extends FakeHostOptions {
  /** Seconds that a URL is good for. Default 600. */
  expiresIn?: number;
  /** Default: the machine's clock. */
  clock?: { now(): number };
}

/**
 * Starts an object store of the S3 kind. A request that carries `Authorization` beside the signature is refused with
 * 400, as S3 does; a wrong, missing or expired signature with 403.
 */
export async function startFakeCdn(options: FakeCdnOptions = {}): Promise<FakeCdn> {
  const { expiresIn = 600, clock = Date } = options;
  const key = randomBytes(32);
  const blobs = new Map<string, Uint8Array>();
  let generation = 0;

  function signature(method: string, path: string, expires: string): string {
    return createHmac('sha256', key).update(`${method}\n${path}\n${expires}`).digest('hex');
  }

  function answer(request: Exchange): Answer {
    const { method, path, query, headers } = request;
    if (headers.authorization !== undefined) {
      return xmlError(400, 'InvalidArgument', 'More than one way of authentication was given');
    }
    const expires = query.get('Expires') ?? '';
    if (query.get('Signature') !== signature(method, path, expires)) {
      return xmlError(403, 'SignatureDoesNotMatch', 'The signature is not that of the request');
    }
    const age = generation - Number(query.get('Generation'));
    if (age > 0 || clock.now() >= Number(expires) * 1000) return xmlError(403, 'AccessDenied', 'Request has expired');
    const bytes = blobs.get(path);
    if (!bytes) return xmlError(404, 'NoSuchKey', 'No such key');
    const etag = `"${path.slice(-32)}"`;
    const found = { status: 200, headers: { 'content-type': 'binary/octet-stream', etag }, body: bytes };
    return applyRange(found, request);
  }

  const host = await startFakeHost(options, answer);
  // Added to the host itself, not to a copy: its log is read by a getter.
  return Object.assign(host, {
    sign({ method, digest, bytes }: { method: string; digest: string; bytes: Uint8Array }): string {
      const path = `/blobs/${digest.replace(':', '/')}`;
      blobs.set(path, bytes);
      const expires = String(Math.ceil(clock.now() / 1000) + expiresIn);
      return `${host.url}${path}?Expires=${expires}&Generation=${generation}&Signature=${signature(method, path, expires)}`;
    },
    expire() {
      generation++;
      blobs.clear();
    },
  });
}

function xmlError(status: number, code: string, message: string): Answer {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return { status, headers: { 'content-type': 'application/xml' }, body };
}
