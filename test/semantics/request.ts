import { request as undiciRequest } from 'undici';

/** What a request carries. */
export interface RequestOptions {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  signal?: AbortSignal;
  /** Called when the answer's headers are here. */
  begun?: () => void;
}

/** An answer, read to its end. `failure`: the connection broke before the body was whole. */
export interface Got {
  status: number;
  headers: Readonly<Record<string, string | undefined>>;
  body: Buffer;
  /** The code of its first OCI error. */
  errorCode: string | undefined;
  failure: Error | undefined;
}

/** Sends a request on a real socket and reads the answer, raw. */
export async function request(url: string, options: RequestOptions = {}): Promise<Got> {
  const { method = 'GET', headers = {}, body, signal, begun } = options;
  const answer = await undiciRequest(url, {
    method: method as 'GET',
    headers,
    ...(body !== undefined && { body }),
    ...(signal && { signal }),
  });
  begun?.();
  const chunks: Buffer[] = [];
  let failure: Error | undefined;
  try {
    for await (const chunk of answer.body) chunks.push(chunk as Buffer);
  } catch (error) {
    failure = error as Error;
  }
  const bytes = Buffer.concat(chunks);
  return {
    status: answer.statusCode,
    headers: answer.headers as Record<string, string | undefined>,
    body: bytes,
    errorCode: answer.statusCode >= 400 ? errorCodeOf(bytes) : undefined,
    failure,
  };
}

function errorCodeOf(body: Buffer): string | undefined {
  try {
    return JSON.parse(body.toString()).errors[0].code;
  } catch {
    return undefined;
  }
}
