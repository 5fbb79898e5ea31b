import type { FileHandle } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { ByteRange, Digest } from '@proxycache/core';
import { type Attempts, attempts } from './attempts.ts';
import type { Calls } from './calls.ts';
import { type ChecksumKind, partStream } from './file-part.ts';
import type { ObjectKeys } from './object-keys.ts';
import type { S3Settings } from './settings.ts';
import type { Turns } from './turns.ts';

/** What storing needs. */
export interface UploadParts {
  settings: S3Settings;
  calls: Calls;
  keys: ObjectKeys;
  /** Parts under way, of all blobs. */
  turns: Turns;
}

/** A file to be stored. */
export interface Upload {
  digest: Digest;
  key: string;
  file: FileHandle;
  size: number;
  signal: AbortSignal;
}

/** What the client's own setting says of the server. */
export async function checksumKind({ client }: S3Settings): Promise<ChecksumKind> {
  const calculation = await client.config.requestChecksumCalculation();
  return calculation === 'WHEN_REQUIRED' ? 'md5' : 'crc32';
}

/** Tells of what is sent again. */
export function tellRetried({ tell }: S3Settings, sent: { digest: Digest; part?: number }): Attempts['failed'] {
  return (failure) => tell({ type: 's3-upload-retried', ...sent, ...failure });
}

/** Sends a part of the file, again from the file where that fails. */
export async function sendPart<T>(
  { settings, calls, turns }: UploadParts,
  part: Upload & { operation: string; number: number; range: ByteRange },
  send: (body: Readable, given: { abortSignal: AbortSignal }) => Promise<T>,
): Promise<T> {
  const { operation, key, digest, file, number, range, signal } = part;
  const failed = tellRetried(settings, { digest, part: number });
  return await attempts({ clock: settings.clock, signal, failed }, (attempt) => {
    // What was read of the file may wait in the buffers of a slow network for longer than anybody can see here.
    const withinMs = settings.idleWithinMs * 2 ** (attempt - 1);
    return turns(signal, () =>
      calls.run({ operation, key, signal, withinMs, rests: false }, async ({ abortSignal, headway }) => {
        const body = partStream(file, range, headway);
        // Whoever sends it is told.
        body.on('error', () => undefined);
        try {
          return await send(body, { abortSignal });
        } finally {
          body.destroy();
        }
      }),
    );
  });
}
