import type { IncomingHttpHeaders } from 'node:http';

/** A request as a fake host got it. */
export interface Exchange {
  method: string;
  /** Path without the query, percent-encoding untouched. */
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: string;
}

/** An answer to send whole. A HEAD gets the headers of the GET, without the body. */
export interface Answer {
  status: number;
  /** Names in lowercase. `content-length` is that of the body unless given. */
  headers: Readonly<Record<string, string>>;
  body: Uint8Array | string;
  /** Sent chunked, without Content-Length. */
  chunked?: boolean;
}

/** An answer with a JSON body. */
export function jsonAnswer(status: number, value: unknown, headers: Record<string, string> = {}): Answer {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

/** An error in a registry's own voice (OCI distribution-spec, error codes). May be given as a fault, too. */
export function ociError(status: number, code: string, message: string, headers?: Record<string, string>): Answer {
  return jsonAnswer(status, { errors: [{ code, message, detail: {} }] }, headers);
}

/** A page for people, as a captive portal or a firewall gives instead of a registry's answer. */
export function htmlPage(status: number, title: string): Answer {
  return {
    status,
    headers: { 'content-type': 'text/html; charset=utf-8' },
    body: `<!doctype html>\n<html><head><title>${title}</title></head><body><h1>${title}</h1></body></html>\n`,
  };
}

/** The answer as bytes. */
export function bodyBytes(answer: Answer): Uint8Array {
  return typeof answer.body === 'string' ? Buffer.from(answer.body) : answer.body;
}
