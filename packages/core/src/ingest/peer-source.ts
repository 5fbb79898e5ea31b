import { Agent, type Dispatcher } from 'undici';
import type { Clock } from '../runtime/clock.ts';
import { pause } from '../runtime/pause.ts';
import { parseContentRange } from '../upstream/content-range.ts';
import type { FetchedBlob } from '../upstream/upstream.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { IngestEvent } from './events.ts';
import type { LeaderSource, WantedOfLeader } from './leader.ts';
import { patientBody } from './patience.ts';
import { peerPath, signPeerRequest } from './peer-signature.ts';

/** What a {@link peerSource} is made with. */
export interface PeerSourceParts {
  /** Where other processes reach this one. */
  url: string;
  secret: string;
  clock: Clock;
  observe(event: IngestEvent): void;
}

/** A {@link LeaderSource} that has connections. */
export interface PeerSource extends LeaderSource {
  close(): Promise<void>;
}

/**
 * How long each step may take. A leader that stands still, or whose upstream does, cannot be told from here: whoever
 * follows looks again who leads, comes back while it is the same one, and goes on alone after some times in vain.
 */
const connectWithinMs = 2_000;
const headersWithinMs = 10_000;
const idleForMs = 5_000;

/**
 * A leader that just died is tried until its lease has ended, so that one of its followers leads then. Time counts, not
 * tries: all that it was bringing in breaks off at once.
 */
const betweenTriesMs = 1_200;
const triedForMs = 2 * betweenTriesMs;

/** For so long one that cannot be reached is not tried again: it may be behind a wall. */
const restMs = 30_000;
const forgottenAfterMs = 2 * restMs;

const mostRemembered = 100;

/**
 * Reads what a leader on another host brings in, over HTTP. What comes is not believed: whoever follows hashes it. No
 * redirect is followed, and the secret is never sent.
 */
export function peerSource({ url: own, secret, clock, observe }: PeerSourceParts): PeerSource {
  const agent = new Agent({
    // One for each blob that is followed, however many: one that had to wait for another to be through would look as if
    // its leader brought nothing.
    connections: null,
    pipelining: 1,
    connect: { timeout: connectWithinMs },
    // Undici's timers are coarse, and blind to readers.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const failures = new Map<string, { since: number; at: number; restsUntil: number }>();

  function told(peer: string, error: string, status?: number): void {
    observe({ type: 'peer-failed', peer, error, ...(status !== undefined && { status }) });
  }

  /** @throws UpstreamError, so that whoever follows looks again who leads */
  async function unreachable(peer: string, wanted: WantedOfLeader, cause: unknown): Promise<never> {
    const now = clock.monotonic();
    const before = failures.get(peer);
    const known = before && now - before.at < forgottenAfterMs ? before : undefined;
    const since = known?.since ?? now;
    const restsUntil = now - since >= triedForMs ? now + restMs : Number.NEGATIVE_INFINITY;
    failures.delete(peer);
    failures.set(peer, { since, at: now, restsUntil });
    if (failures.size > mostRemembered) failures.delete(failures.keys().next().value as string);
    if (!known) told(peer, cause instanceof Error ? cause.message : String(cause));
    await pause(betweenTriesMs, clock, wanted.signal);
    throw broken(wanted, 'cannot be reached', cause);
  }

  async function request(peer: string, { upstream, digest, from, signal }: WantedOfLeader) {
    const asked = { peer, method: 'GET', path: peerPath(upstream, digest), range: `bytes=${from}-` } as const;
    const { origin, pathname } = new URL(peer);
    const slow = new AbortController();
    const cancel = clock.after(headersWithinMs, () => slow.abort(late));
    try {
      return await agent.request({
        origin,
        path: `${pathname.replace(/\/+$/, '')}${asked.path}`,
        method: asked.method,
        headers: {
          range: asked.range,
          authorization: signPeerRequest(asked, secret, clock.now()),
          'accept-encoding': 'identity',
        },
        signal: AbortSignal.any([signal, slow.signal]),
      });
    } finally {
      cancel();
    }
  }

  return {
    async open({ peerUrl: peer }, wanted) {
      if (peer === undefined || peer === own || !/^https?:$/.test(protocolOf(peer))) return undefined;
      if (clock.monotonic() < (failures.get(peer)?.restsUntil ?? Number.NEGATIVE_INFINITY)) return undefined;
      let answer: Dispatcher.ResponseData;
      try {
        answer = await request(peer, wanted);
      } catch (cause) {
        wanted.signal.throwIfAborted();
        if (cause === late) throw broken(wanted, 'has nothing yet');
        return await unreachable(peer, wanted, cause);
      }
      failures.delete(peer);
      const { statusCode: status, body } = answer;
      const part = status === 206 ? parseContentRange(String(answer.headers['content-range'])) : undefined;
      const isWhole = status === 200 && Number(answer.headers['proxycache-from']) === wanted.from;
      if (part?.from !== wanted.from && !isWhole) {
        body.on('error', () => undefined);
        body.destroy();
        // It has no such transfer, or none any more.
        if (status === 404) return undefined;
        told(
          peer,
          status === 401
            ? 'it refused the signature: compare peers.secret, its peers.url, and the clocks'
            : 'it answered otherwise',
          status,
        );
        if (status >= 500) throw broken(wanted, `answered ${status}`);
        return undefined;
      }
      return {
        start: wanted.from,
        ...(part?.total !== undefined && { total: part.total }),
        body: patientBody(bodyOf(body, wanted), idleForMs, { clock, late: () => broken(wanted, 'brings nothing') }),
      };
    },
    close: () => agent.destroy(),
  };
}

/** Why a request was given up whose answer did not begin. */
const late = new Error('it did not answer in time');

const protocolOf = (url: string) => (URL.canParse(url) ? new URL(url).protocol : '');

const broken = ({ upstream, digest }: WantedOfLeader, what: string, cause?: unknown) =>
  new UpstreamError('unreachable', `the process that brings in ${digest} ${what}`, { upstream, cause });

/** What fails in it is an upstream's failure to whoever follows: it goes on elsewhere. */
function bodyOf(body: Dispatcher.ResponseData['body'], wanted: WantedOfLeader): FetchedBlob['body'] {
  const chunks = body[Symbol.asyncIterator]();
  // It may break off between two reads.
  body.on('error', () => undefined);
  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      try {
        const { done, value } = await chunks.next();
        return done ? { done, value: undefined } : { done: false, value: value as Uint8Array };
      } catch (error) {
        wanted.signal.throwIfAborted();
        throw broken(wanted, 'broke off', error);
      }
    },
    async return() {
      body.destroy();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
