import type { Answered } from './client.ts';
import { type Part, slice } from './question.ts';

/** What is wrong with an answer to a GET of a blob whose bytes are known, if anything. */
export function wrongBlobAnswer(
  answered: Answered,
  blob: { bytes: Uint8Array; parts?: readonly Part[] },
): string | undefined {
  const { status, headers, body, end } = answered;
  const { bytes } = blob;
  const slices = blob.parts?.map((part) => slice(part, bytes.byteLength));
  const wanted = slices?.filter((part) => part !== undefined);
  if (status === 416) {
    return wanted && wanted.length === 0 ? undefined : 'a range that can be satisfied was refused';
  }
  if (status === 200) {
    const expected = end === 'whole' ? bytes : bytes.subarray(0, body.byteLength);
    return body.equals(expected) ? undefined : `${end} 200: ${body.byteLength} bytes, not those of the blob`;
  }
  if (status !== 206) return undefined;
  if (!wanted?.length) return '206 to what asked for no part that there is';
  const type = headers['content-type'] ?? '';
  if (!type.startsWith('multipart/byteranges')) {
    const [from, to] = spanOf(headers['content-range']);
    const least = Math.min(...wanted.map((part) => part[0]));
    const most = Math.max(...wanted.map((part) => part[1]));
    // RFC 9110 15.3.7.2: parts that overlap may come as one.
    if (from !== least || to !== most) return `206 of ${headers['content-range']}`;
    const expected = bytes.subarray(from, end === 'whole' ? to : from + body.byteLength);
    return body.equals(expected) ? undefined : `${end} 206 of ${headers['content-range']}: wrong bytes`;
  }
  return end === 'whole' ? wrongMultipart(answered, bytes, wanted) : undefined;
}

const spanOf = (contentRange: string | undefined): [from: number, end: number] => {
  const match = /^bytes (\d+)-(\d+)\//.exec(contentRange ?? '');
  return match ? [Number(match[1]), Number(match[2]) + 1] : [-1, -1];
};

/** Reads the parts one after the other (RFC 2046 5.1.1), each as long as its own Content-Range says. */
function wrongMultipart(
  { headers, body }: Answered,
  bytes: Uint8Array,
  wanted: readonly [from: number, end: number][],
): string | undefined {
  const spans: [from: number, end: number][] = [];
  const boundary = /boundary="?([^";]+)/.exec(headers['content-type'] ?? '')?.[1];
  let at = 0;
  for (let count = 0; ; count++) {
    const opening = `${count === 0 ? '' : '\r\n'}--${boundary}`;
    if (body.toString('latin1', at, at + opening.length) !== opening) return `206 multipart: no boundary at ${at}`;
    at += opening.length;
    if (body.toString('latin1', at, at + 2) === '--') {
      const lacks = wanted.find(([from, to]) => !spans.some((span) => span[0] <= from && span[1] >= to));
      return lacks ? `206 multipart lacks ${lacks}` : undefined;
    }
    const headEnd = body.indexOf('\r\n\r\n', at);
    const range = /content-range: ([^\r]+)/i.exec(body.toString('latin1', at, headEnd))?.[1];
    const [from, to] = spanOf(range);
    at = headEnd + 4;
    if (from < 0 || !body.subarray(at, at + to - from).equals(bytes.subarray(from, to))) {
      return `206 multipart: wrong bytes for ${range}`;
    }
    spans.push([from, to]);
    at += to - from;
  }
}
