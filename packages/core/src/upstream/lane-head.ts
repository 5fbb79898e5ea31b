import type { ResponseHeaders } from './exchange.ts';

/** The head of an answer that leaves no doubt about where its body ends. */
export interface LaneHead {
  status: number;
  headers: ResponseHeaders;
  /** Bytes of the body. */
  length: number;
  /** Whether another request may follow over the same connection. */
  keepsAlive: boolean;
  /** Where the body begins in what was read. */
  end: number;
}

/** Reads the head of an answer as it comes. */
export interface LaneHeadReader {
  /**
   * Looks at the first `length` bytes, which are all that came so far. `undefined`: the head goes on; `unusual`: this is for
   * another reader, who may well make sense of it.
   */
  read(bytes: Buffer, length: number): LaneHead | 'unusual' | undefined;
}

const version = 'HTTP/1.1 ';
// RFC 9112 4. A reason is optional, the space before it is not; 1xx, 204 and 304 have rules of their own for what follows.
const statusLine = /^HTTP\/1\.1 ([2-5]\d\d) [\t\x20-\x7e]*$/;
const bodiless: ReadonlySet<number> = new Set([204, 304]);
// RFC 9112 5, RFC 9110 5.5, of ASCII alone. A line that begins with a space goes on with the one before (5.2): unusual.
const fieldLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e]*)$/;
const lengthValue = /^\d{1,15}$/;

const lineFeed = 0x0a;

/**
 * Makes a reader of heads by RFC 9112, strict where a lenient one could see another end of the body than somebody else
 * (9112 11.2): exactly one `Content-Length`, no `Transfer-Encoding`, lines that end in CRLF.
 */
export function createLaneHeadReader(): LaneHeadReader {
  let lineStart = 0;
  let scanned = 0;
  let status: number | undefined;
  const headers: Record<string, string | string[]> = Object.create(null);

  function readLine(line: string): boolean {
    if (status === undefined) {
      status = Number(statusLine.exec(line)?.[1] ?? Number.NaN);
      return !Number.isNaN(status) && !bodiless.has(status);
    }
    const [, name, value] = fieldLine.exec(line) ?? [];
    if (name === undefined || value === undefined) return false;
    const key = name.toLowerCase();
    const before = headers[key];
    const text = value.trim();
    if (before === undefined) headers[key] = text;
    else if (typeof before === 'string') headers[key] = [before, text];
    else before.push(text);
    return true;
  }

  function finish(end: number): LaneHead | 'unusual' {
    const length = headers['content-length'];
    if (status === undefined || typeof length !== 'string' || !lengthValue.test(length)) return 'unusual';
    if (headers['transfer-encoding'] !== undefined) return 'unusual';
    return { status, headers, length: Number(length), keepsAlive: !saysClose(headers['connection']), end };
  }

  return {
    read(bytes, length) {
      for (;;) {
        const feed = bytes.subarray(0, length).indexOf(lineFeed, scanned);
        if (feed < 0) {
          scanned = length;
          // What does not even begin like an answer may never have a line's end.
          const begun = status === undefined ? bytes.toString('latin1', 0, Math.min(length, version.length)) : '';
          return version.startsWith(begun) ? undefined : 'unusual';
        }
        const line = bytes.toString('latin1', lineStart, feed);
        lineStart = feed + 1;
        scanned = lineStart;
        if (line === '\r') return finish(lineStart);
        if (!line.endsWith('\r') || !readLine(line.slice(0, -1))) return 'unusual';
      }
    },
  };
}

/** RFC 9112 9.3. What else it lists is about other connections, or none of ours. */
function saysClose(connection: string | string[] | undefined): boolean {
  return [connection ?? []].flat().some((value) => /(^|[\s,])close($|[\s,])/i.test(value));
}
