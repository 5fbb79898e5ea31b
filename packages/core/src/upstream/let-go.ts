import { collect, discard } from '../runtime/bytes.ts';
import { type ExchangeResponse, headerOf } from './exchange.ts';

// Reading on is cheaper than a new connection with its handshake, up to about this much.
const worthReading = 16 * 1024;

/** Ends with a response whose body nobody wants: a short one is read away, so that its connection can be used again. */
export function letGo({ headers, body }: Pick<ExchangeResponse, 'headers' | 'body'>): void {
  const length = Number(headerOf(headers, 'content-length') ?? Number.NaN);
  const end: Promise<unknown> = length <= worthReading ? collect(body, worthReading) : discard(body);
  // Whether it ended well is of no use to anyone.
  end.catch(() => undefined);
}
