import { essenceOf } from '../oci/media-type.ts';
import type { Bytes } from '../runtime/bytes.ts';
import { collect } from '../runtime/bytes.ts';
import { headerOf, type ResponseHeaders } from './exchange.ts';
import { redact } from './redact.ts';

/** What a body that is not what was asked for says. */
export interface Voice {
  /** Whether the registry itself speaks, and not something in its place (a firewall, a portal, a load balancer). */
  own: boolean;
  /** The OCI error code, `''` where there is none. */
  code: string;
  /** Fit to be shown. */
  message: string;
}

// An error body is a sentence or two; more is not worth reading.
const longestErrorBody = 64 * 1024;

/**
 * Reads an error body. It is the registry's own where it is an OCI error body (OCI distribution-spec, error codes) or
 * holds one of `markers`. `Docker-Distribution-Api-Version` alone proves nothing: proxies in front add it to anything.
 */
export async function hear(body: Bytes, markers: readonly string[]): Promise<Voice> {
  const bytes = await collect(body, longestErrorBody);
  const text = new TextDecoder().decode(bytes);
  const error = parseOciError(text);
  if (error) return { own: true, code: error.code, message: redact(error.message) };
  const own = markers.some((marker) => marker !== '' && text.includes(marker));
  return { own, code: '', message: own ? redact(text) : '' };
}

/** Whether the headers announce a page for people. */
export function isHtml(headers: ResponseHeaders): boolean {
  const type = essenceOf(headerOf(headers, 'content-type'));
  return type === 'text/html' || type === 'application/xhtml+xml';
}

function parseOciError(text: string): { code: string; message: string } | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  const errors = isObject(body) ? body['errors'] : undefined;
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (!isObject(first) || typeof first['code'] !== 'string') return undefined;
  const { code, message } = first;
  return { code, message: typeof message === 'string' && message !== '' ? message : code };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
