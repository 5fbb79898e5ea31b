import type { Dispatcher } from 'undici';
import type { Slabs } from '../runtime/slabs.ts';
import type { HostPlan } from './dialer.ts';
import type { PieceSize } from './lane-body.ts';

/** A GET over a lane. */
export interface LaneRequest extends Dispatcher.DispatchOptions {
  headers: Readonly<Record<string, string>>;
  host: HostPlan;
  /** Memory for the body, whose pieces then pass with theirs. Default: fresh memory for each. */
  slabs?: Slabs | undefined;
  /** How large the pieces of its body are. Default `'batches'`. */
  pieces?: PieceSize;
}

// RFC 9110 5.1, 5.5; RFC 9112 3.2.1: what else is in them would end a line, or begin another.
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;
const target = /^[\x21-\x7e]+$/;

/** A GET as it is sent, to its empty line. @throws TypeError for a header or a path that cannot be sent */
export function requestHead(origin: string, { path, headers }: Pick<LaneRequest, 'path' | 'headers'>): string {
  if (!target.test(path)) throw new TypeError('a path with characters that cannot be sent');
  let head = `GET ${path} HTTP/1.1\r\nhost: ${new URL(origin).host}\r\nconnection: keep-alive\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    // The value may be a secret.
    if (!token.test(name) || !fieldValue.test(value)) throw new TypeError(`a header that cannot be sent: ${name}`);
    head += `${name}: ${value}\r\n`;
  }
  return `${head}\r\n`;
}
