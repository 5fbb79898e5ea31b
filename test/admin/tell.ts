import { once } from 'node:events';
import { type IncomingMessage, type OutgoingHttpHeaders, request as send } from 'node:http';

/** What a request brings beside its path. */
export interface Asking {
  method?: string;
  headers?: OutgoingHttpHeaders;
  /** Sent as JSON, unless it is text already. */
  body?: unknown;
}

/** An answer, whole. */
export interface Told {
  status: number;
  headers: IncomingMessage['headers'];
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what it is, the document says and the check proves
  json: any;
}

const isRead = (method: string) => ['GET', 'HEAD', 'OPTIONS'].includes(method);

/** One request over a connection of its own; a write says that it is JSON, unless told otherwise. */
export async function tell(url: string, path: string, asking: Asking = {}): Promise<Told> {
  const { method = 'GET', body } = asking;
  const content = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  const headers = {
    ...(!isRead(method) && { 'content-type': 'application/json' }),
    ...(content !== undefined && { 'content-length': Buffer.byteLength(content) }),
    ...asking.headers,
  };
  const given = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
  const { hostname, port } = new URL(url);
  const request = send({ hostname, port, path, method, headers: given, agent: false });
  request.end(content);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  const isJson = /\bjson\b/.test(response.headers['content-type'] ?? '') && text !== '';
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text,
    json: isJson ? JSON.parse(text) : undefined,
  };
}
