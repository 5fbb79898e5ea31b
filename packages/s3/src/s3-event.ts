import type { Digest } from '@proxycache/core';

/** What an observer of blobs in S3 is told. Nothing in it is secret. */
export type S3Event =
  /** A part of an upload failed and is sent again, from the file, after `inMs`; without `part`: its beginning or its end. */
  | { type: 's3-upload-retried'; digest: Digest; part?: number; attempt: number; inMs: number; error: Error }
  /** A body broke off; its rest is asked for, from `position` on. */
  | { type: 's3-read-resumed'; digest: Digest; position: number; error: Error }
  /** An upload failed, and so did its removal: its parts stay until a lifecycle rule or `abortUnfinished` removes them. */
  | { type: 's3-upload-left'; digest: Digest; uploadId: string; error: Error };
