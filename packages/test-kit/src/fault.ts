import { type Answer, type Exchange, ociError } from './answer.ts';
import type { ChunkGate, Gate } from './gate.ts';

/** Which requests are meant. All that is given must hold; left out: any. */
export interface RequestMatch {
  method?: string;
  /** A string is the whole path, a RegExp is tested on it. */
  path?: string | RegExp;
  /** What the request is about, at a registry (`…/sha256:<hex>`) or at an object store (`…/sha256/<hex>`). */
  digest?: string;
}

/**
 * What goes wrong with an answer. Those of the first group take the place of the answer; those of the last one befall
 * the body of an answer of 2xx, its own or a fault's, and leave HEAD alone. Positions count from the answer's first byte.
 *
 * - `status`: this instead; without a body, an OCI error for 4xx and plain text for the others
 * - `redirect`: a redirect to this URL, 307 unless `status` says another
 * - `hang`: taken and never answered
 * - `drop`: the connection is closed before any answer
 * - `gate`: held until the gate opens, then answered
 * - `cutAfter`: closed after that many bytes; with `rst` the client may get fewer of them
 * - `stallAfter`: nothing more after that many bytes, the connection stays open
 * - `corruptAt`: the bits of that byte are flipped
 * - `truncateTo`: only so many bytes, and a Content-Length that says so
 * - `throttle`: sent in the gate's chunks, each when it is allowed
 * - `slow`: sent in chunks of so many bytes, so many milliseconds of the machine's clock apart
 */
export type Fault =
  | { status: number; body?: string | Uint8Array; headers?: Readonly<Record<string, string>> }
  | { redirect: string; status?: 301 | 302 | 303 | 307 | 308 }
  | { hang: true }
  | { drop: 'fin' | 'rst' }
  | { gate: Gate }
  | { cutAfter: number; how: 'fin' | 'rst' }
  | { stallAfter: number }
  | { corruptAt: number }
  | { truncateTo: number }
  | { throttle: ChunkGate }
  | { slow: { chunkBytes: number; everyMs: number } };

/** One request's part of a script: right, one fault, or several at once. */
export type Step = 'ok' | Fault | readonly Fault[];

type KeysOf<T> = T extends unknown ? keyof T : never;
type FaultWith<K> = K extends string ? Extract<Fault, { [key in K]: unknown }> : never;

/** Whether a request is one of those meant. */
export function matches(match: RequestMatch, request: { method: string; path: string }): boolean {
  if (match.method !== undefined && match.method !== request.method) return false;
  if (match.digest !== undefined && !request.path.includes(match.digest.slice(match.digest.indexOf(':') + 1)))
    return false;
  if (match.path === undefined) return true;
  return typeof match.path === 'string' ? match.path === request.path : request.path.search(match.path) >= 0;
}

/** The faults of a host, in the order they were set. */
export interface Faults {
  /** Adds a fault; the answer takes it away. */
  on(match: RequestMatch & { times?: number }, fault: Fault): () => void;
  /** Adds a script: the first request takes the first step, and so on. */
  script(match: RequestMatch, steps: readonly Step[]): () => void;
  /**
   * The first fault that has one of these keys and is meant for the request; it is used up by one. So faults of one
   * kind follow one another, and faults of different kinds befall one request together.
   */
  take<K extends KeysOf<Fault>>(request: Exchange, ...keys: readonly K[]): FaultWith<K> | undefined;
  /** A request is answered right, as far as scripts go: it takes a step `'ok'` where that is next. */
  answered(request: Exchange): void;
  clear(): void;
}

interface Entry {
  match: RequestMatch;
  fault: Fault;
  left: number;
}

interface Script {
  match: RequestMatch;
  steps: Step[];
  taken: WeakMap<Exchange, Fault[]>;
}

const listOf = (step: Step | undefined): Fault[] =>
  step === undefined || step === 'ok' ? [] : 'length' in step ? [...step] : [step];

/** Makes an empty list of faults. */
export function createFaults(): Faults {
  let entries: Entry[] = [];
  let scripts: Script[] = [];

  /** The step of a request: its own already, or the next one if that is of a kind that befalls it now. */
  function stepOf(script: Script, request: Exchange, befalls: (next: Step) => boolean): Fault[] {
    const own = script.taken.get(request);
    const next = script.steps[0];
    if (own || next === undefined || !matches(script.match, request) || !befalls(next)) return own ?? [];
    script.steps.shift();
    const faults = listOf(next);
    script.taken.set(request, faults);
    return faults;
  }

  return {
    on({ times = Number.POSITIVE_INFINITY, ...match }, fault) {
      const entry = { match, fault, left: times };
      entries.push(entry);
      return () => {
        entries = entries.filter((other) => other !== entry);
      };
    },
    script(match, steps) {
      const script = { match, steps: [...steps], taken: new WeakMap() };
      scripts.push(script);
      return () => {
        scripts = scripts.filter((other) => other !== script);
      };
    },
    take<K extends KeysOf<Fault>>(request: Exchange, ...keys: readonly K[]) {
      const isMeant = (fault: Fault): fault is FaultWith<K> => keys.some((key) => key in fault);
      for (const script of scripts) {
        const step = stepOf(script, request, (next) => listOf(next).some(isMeant));
        const fault = step.find(isMeant);
        if (fault) return fault;
      }
      for (const entry of entries) {
        if (entry.left < 1 || !isMeant(entry.fault) || !matches(entry.match, request)) continue;
        entry.left--;
        return entry.fault;
      }
      return undefined;
    },
    answered(request) {
      for (const script of scripts) stepOf(script, request, (next) => next === 'ok');
    },
    clear() {
      entries = [];
      scripts = [];
    },
  };
}

const codes: Readonly<Record<number, string>> = { 401: 'UNAUTHORIZED', 403: 'DENIED', 429: 'TOOMANYREQUESTS' };

/** The answer that a fault puts in the place of the real one. */
export function faultAnswer(fault: FaultWith<'status'> | FaultWith<'redirect'>, request: Exchange): Answer {
  if ('redirect' in fault) return { status: fault.status ?? 307, headers: { location: fault.redirect }, body: '' };
  const { status, body, headers = {} } = fault;
  if (body !== undefined) return { status, headers, body };
  if (status < 400 || status >= 500) {
    return { status, headers: { 'content-type': 'text/plain', ...headers }, body: status < 300 ? '' : `${status}\n` };
  }
  const notFound = /\/manifests\//.test(request.path) ? 'MANIFEST_UNKNOWN' : 'NAME_UNKNOWN';
  const code = codes[status] ?? (/\/blobs\//.test(request.path) ? 'BLOB_UNKNOWN' : notFound);
  return ociError(status, status === 404 ? code : (codes[status] ?? 'UNKNOWN'), `answered ${status} by a fault`, {
    ...headers,
  });
}
