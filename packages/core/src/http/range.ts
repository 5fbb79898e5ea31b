import type { RangeSpec } from '../runtime/byte-range.ts';
import { ProxyCacheError } from '../runtime/errors.ts';
import type { HttpRequest } from './message.ts';

/** The most parts of one blob a request may ask for. Lazy pullers ask for tens. */
const mostRanges = 256;

const isDigit = (code: number) => code >= 48 && code <= 57;
const isSpace = (code: number) => code === 32 || code === 9;

/**
 * The parts a request asks for, or `undefined` when it gets the whole: without a readable `Range`, on HEAD, for which
 * ranges are not defined (RFC 9110 14.2), and after an `If-Range` that does not hold (RFC 9110 13.1.5).
 *
 * @param etag the strong entity tag of what is asked for, with its quotes
 * @throws ProxyCacheError `range-invalid` when it asks for more than 256 parts
 */
export function requestedRanges(request: HttpRequest, etag: string): readonly RangeSpec[] | undefined {
  if (request.method !== 'GET') return undefined;
  const range = request.headers.get('range');
  if (range === null) return undefined;
  const ifRange = request.headers.get('if-range');
  // RFC 9110 13.1.5: strong comparison. We send no Last-Modified, so that a date never holds.
  if (ifRange !== null && ifRange.trim() !== etag) return undefined;
  return parseRange(range);
}

/**
 * Parses a `Range` header (RFC 9110 14.1, 14.2). One that is malformed or in another unit than bytes is ignored:
 * `undefined`. A part that ends before it starts, and the last 0 bytes, are kept: they are well-formed, and nothing
 * satisfies them.
 *
 * @throws ProxyCacheError `range-invalid` for more than 256 parts
 */
export function parseRange(header: string): readonly RangeSpec[] | undefined {
  const equals = header.indexOf('=');
  if (equals < 0 || header.slice(0, equals).trim().toLowerCase() !== 'bytes') return undefined;
  const specs: RangeSpec[] = [];
  let from = equals + 1;
  while (from <= header.length) {
    const comma = header.indexOf(',', from);
    const end = comma < 0 ? header.length : comma;
    const spec = parseSpec(header, from, end);
    if (spec === undefined) return undefined;
    // RFC 9110 5.6.1.2: empty list elements are passed over.
    if (spec !== 'empty') specs.push(spec);
    if (specs.length > mostRanges) {
      throw new ProxyCacheError('range-invalid', `at most ${mostRanges} ranges can be asked for at once`);
    }
    from = end + 1;
  }
  return specs.length === 0 ? undefined : specs;
}

/** Reads `first-`, `first-last` or `-length` with blanks around; `undefined` when it is none of them. */
function parseSpec(text: string, start: number, stop: number): RangeSpec | 'empty' | undefined {
  let at = skipSpaces(text, start, stop);
  if (at === stop) return 'empty';
  const first = readNumber(text, at, stop);
  at = skipSpaces(text, first.end, stop);
  if (text.charCodeAt(at) !== 45) return undefined;
  const second = readNumber(text, skipSpaces(text, at + 1, stop), stop);
  if (skipSpaces(text, second.end, stop) !== stop) return undefined;
  if (first.value !== undefined) {
    return second.value === undefined ? { from: first.value } : { from: first.value, to: second.value };
  }
  return second.value === undefined ? undefined : { last: second.value };
}

function skipSpaces(text: string, from: number, stop: number): number {
  let at = from;
  while (at < stop && isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** Digits from `from` on, however many: beyond what a number holds exactly, positions are all past any content. */
function readNumber(text: string, from: number, stop: number): { value: number | undefined; end: number } {
  let end = from;
  let value = 0;
  while (end < stop && isDigit(text.charCodeAt(end))) {
    value = Math.min(value * 10 + (text.charCodeAt(end) - 48), Number.MAX_SAFE_INTEGER);
    end++;
  }
  return { value: end === from ? undefined : value, end };
}
