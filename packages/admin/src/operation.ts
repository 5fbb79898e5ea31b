import type { AccessRequest } from '@proxycache/core';
import type { Schema } from './schema.ts';

/** One operation of the API: it is routed, checked, answered and described by this value alone. */
export interface Operation {
  /** As `authorize` is asked about it: `upstreams.list`. */
  id: string;
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Below the version: `/upstreams/{key}`. */
  path: string;
  /** What it does, in one sentence. */
  summary: string;
  parameters?: readonly Parameter[];
  /** Absent: it takes none. */
  body?: Schema;
  /** What it answers when all is well, by status. */
  answers: Readonly<Record<number, AnswerKind>>;
  run(call: Call): Answer | Promise<Answer>;
}

/** A part of a path, or of a query. */
export interface Parameter {
  name: string;
  in: 'path' | 'query';
  description: string;
  schema: Schema;
  required?: boolean;
}

/** What an answer is. */
interface AnswerKind {
  description: string;
  /** Of its JSON. Absent: it has no body, or one that is not JSON. */
  schema?: Schema;
  /** Of a body that is not JSON. */
  contentType?: string;
}

/** One call of an operation; what it brings is what the operation's schemas say. */
export interface Call {
  path: Readonly<Record<string, string>>;
  query: Readonly<Record<string, string | number | boolean>>;
  body: unknown;
  /** The path that the API's own begin with, as the client reaches them: `/admin/v1`. */
  at: string;
  request: AccessRequest;
}

/** What an operation answers: JSON, other text, or nothing. */
export interface Answer {
  status: number;
  /** `undefined`: no body. */
  json?: unknown;
  text?: { contentType: string; body: string };
  headers?: Readonly<Record<string, string>>;
}

/** A part of a path. */
export function inPath(name: string, description: string): Parameter {
  return { name, in: 'path', description, schema: { type: 'string', minLength: 1, maxLength: 512 }, required: true };
}

/** A part of a query that may be left out. */
export function inQuery(name: string, description: string, schema: Schema): Parameter {
  return { name, in: 'query', description, schema };
}

/** Whether it changes something, or has something asked of others: GET and HEAD never do. */
export function isWrite(method: string): boolean {
  return method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS';
}
