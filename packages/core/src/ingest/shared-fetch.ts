import type { Digest } from '../oci/digest.ts';
import { discard } from '../runtime/bytes.ts';
import type { Clock } from '../runtime/clock.ts';
import { abortable } from '../runtime/collapse.ts';
import type { Slabs } from '../runtime/slabs.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { FetchedBlob, Reply } from '../upstream/upstream.ts';
import { UpstreamError } from '../upstream/upstream-error.ts';
import type { IngestEvent } from './events.ts';
import { type Leader, type LeaderSource, type Permission, parseLeader } from './leader.ts';
import { patientBody } from './patience.ts';
import { placeProof } from './place-proof.ts';
import type { FetchFrom } from './steady-body.ts';
import { storedBody } from './stored-body.ts';
import type { TransferLease } from './transfer-lease.ts';

/** What a {@link sharedFetch} is of. */
export interface SharedFetchRequest {
  upstream: string;
  repository: string;
  digest: Digest;
  /** Asks the upstream. */
  fetch: FetchFrom;
  permission: Permission;
  /** For so long a leader may bring nothing: before its first byte, and after. */
  patience: { firstByteMs: number; goOnMs: number };
  lease: TransferLease;
  /** The store has it, and cannot give it right. */
  storeFailed?: boolean;
  /** What the lease's holder tells of itself; `undefined`: nobody holds it. */
  holder(): Promise<string | undefined>;
  /** Resolves after a moment, or when some leader of this blob ended. */
  news(signal: AbortSignal): Promise<unknown>;
  /** Told of each leader that is about to be followed. */
  follows(leader: Leader): void;
}

/** What a {@link sharedFetch} works with. */
export interface SharedFetchParts {
  blobs: BlobStore;
  slabs: Slabs;
  clock: Clock;
  sources: readonly LeaderSource[];
  observe(event: IngestEvent): void;
}

/** A way to ask for a blob that one process uses for all. */
export interface SharedFetch {
  fetch: FetchFrom;
  /** What came was wrong: from now on the upstream is asked, as nobody can tell who was wrong. */
  distrust(): void;
  isDistrustful(): boolean;
}

/** Of a leader that brings nothing. A lease that ended is taken before. */
const mostFruitless = 3;

/** Leaders that end as soon as they are looked at. */
const mostLooks = 50;

/**
 * Asks the upstream, where this process can take the lease; reads from the one that has it, where it cannot. Called again
 * for the rest of a body that broke off, it looks anew who leads: so a leader that died is replaced by one of those who
 * followed it. What a leader cannot be asked for comes from the upstream, by a request of this process's own.
 */
export function sharedFetch(request: SharedFetchRequest, parts: SharedFetchParts): SharedFetch {
  const { upstream, repository, digest, permission, patience, lease, holder, news } = request;
  const { blobs, slabs, clock, sources, observe } = parts;
  const proof = placeProof(permission);
  let isDistrustful = false;
  let isImpatient = false;
  let { storeFailed = false } = request;
  let total: number | undefined;
  let tried = { text: '', from: -1, times: 0 };

  function as(role: 'leader' | 'follower' | 'alone' | 'stored', from: number): void {
    observe({ type: 'ingest-shared', upstream, repository, digest, role, from });
  }

  async function ask(from: number, signal: AbortSignal, ifMatch?: string): Promise<Reply<FetchedBlob>> {
    const reply = await request.fetch(from, signal, ifMatch);
    if (reply.kind === 'found') {
      proof.grant();
      total = from === 0 ? reply.value.total : (total ?? reply.value.total);
      lease.tell({ phase: 'filling', total });
    }
    return reply;
  }

  /** What another process stored while this one was about to ask. */
  async function stored(from: number, signal: AbortSignal): Promise<FetchedBlob | undefined> {
    if (isDistrustful || storeFailed) return undefined;
    try {
      const blob = await storedBody({ blobs, slabs }, { upstream, digest, from, signal });
      // It is asked once more only where it failed: then not again.
      storeFailed = blob !== undefined;
      return blob;
    } catch {
      signal.throwIfAborted();
      storeFailed = true;
      return undefined;
    }
  }

  /** Leads, or reads what is stored by now. */
  async function lead(from: number, signal: AbortSignal, ifMatch?: string): Promise<Reply<FetchedBlob>> {
    const answer = await fromStore(from, signal);
    if (answer) return answer;
    as('leader', from);
    lease.tell({ phase: from > 0 ? 'filling' : 'asking', total });
    return await ask(from, signal, ifMatch);
  }

  /** `undefined`: the upstream has to be asked. */
  async function fromStore(from: number, signal: AbortSignal): Promise<Reply<FetchedBlob> | undefined> {
    const blob = await stored(from, signal);
    if (!blob) return undefined;
    let refused: Awaited<ReturnType<typeof proof.refusal>>;
    try {
      refused = await proof.refusal(signal);
    } catch (error) {
      await discard(blob.body);
      throw error;
    }
    if (refused !== undefined || !proof.covers(blob.total)) {
      await discard(blob.body);
      return refused === 'unproven' ? undefined : refused;
    }
    as('stored', from);
    total = blob.total;
    // Not waited for: the coordinator had its time when it gave it.
    void lease.giveBack();
    return { kind: 'found', value: blob };
  }

  /** Whether a leader that brought nothing new, each time it was read, may be read again. */
  function mayFollow(text: string, from: number): boolean {
    const times = tried.text === text && tried.from === from ? tried.times + 1 : 1;
    tried = { text, from, times };
    return times <= mostFruitless;
  }

  /** Reads from a leader; `undefined`: it cannot be read. @throws what befell it; the signal's reason */
  async function follow(
    leader: Leader,
    from: number,
    signal: AbortSignal,
    ms: number,
  ): Promise<FetchedBlob | undefined> {
    const late = () => {
      isImpatient = true;
      const message = `${upstream} is asked for ${digest} by another process, which brought nothing for long`;
      return new UpstreamError('timeout', message, { upstream });
    };
    const waited = new AbortController();
    const cancel = clock.after(ms, () => waited.abort(late()));
    const either = AbortSignal.any([signal, waited.signal]);
    try {
      for (const source of sources) {
        const opening = source.open(leader, { upstream, digest, from, signal: either });
        const blob = await abortable(opening, either).catch((error: unknown) => {
          void opening.then((late) => late && discard(late.body)).catch(() => undefined);
          throw error;
        });
        if (!blob) continue;
        const { start, body } = blob;
        total = blob.total ?? total;
        // Without what an upstream could be asked for by: it is another's word.
        const patient = patientBody(body, patience.goOnMs, { clock, late });
        return { start, ...(blob.total !== undefined && { total: blob.total }), body: patient };
      }
      return undefined;
    } finally {
      cancel();
    }
  }

  /** The answer, or `undefined`: another look is needed, or `alone`. */
  async function fromHolder(
    from: number,
    signal: AbortSignal,
    ms: number,
  ): Promise<Reply<FetchedBlob> | 'alone' | undefined> {
    let text: string | undefined;
    try {
      text = await abortable(holder(), signal);
    } catch {
      signal.throwIfAborted();
      return 'alone';
    }
    if (text === undefined) return undefined;
    const leader = parseLeader(text);
    // Its own: it was lost here, and the coordinator keeps it still. Nothing would ever come from there.
    if (!leader || lease.hasText(text) || !mayFollow(text, from)) return 'alone';
    // SEMANTICS 20: a process that was answered for the same repository and credential proves as much as one of ours.
    const isSamePlace = leader.place === permission.place;
    const refused = isSamePlace ? undefined : await proof.refusal(signal);
    if (refused !== undefined) return refused === 'unproven' ? 'alone' : refused;
    request.follows(leader);
    try {
      const blob = await follow(leader, from, signal, ms);
      if (!blob) return 'alone';
      // Before its answer nobody could tell.
      if (!isSamePlace && !proof.covers(blob.total)) {
        await discard(blob.body);
        return 'alone';
      }
      proof.grant();
      as('follower', from);
      return { kind: 'found', value: blob };
    } catch {
      signal.throwIfAborted();
      if (isImpatient) return 'alone';
      // One that ended gives its lease back at once.
      if (tried.times > 1) await news(signal);
      return undefined;
    }
  }

  return {
    async fetch(from, signal, ifMatch) {
      if (lease.holds()) return await ask(from, signal, ifMatch);
      const until = clock.monotonic() + (from === 0 ? patience.firstByteMs : patience.goOnMs);
      for (let looks = 0; looks < mostLooks; looks++) {
        const taking = await lease.take(signal);
        if (taking === 'taken') return await lead(from, signal, ifMatch);
        const ms = until - clock.monotonic();
        if (taking === 'away' || isDistrustful || isImpatient || ms <= 0) break;
        const answer = await fromHolder(from, signal, ms);
        if (answer === 'alone') break;
        if (answer) return answer;
      }
      as('alone', from);
      return await ask(from, signal, ifMatch);
    },
    distrust() {
      isDistrustful = true;
    },
    isDistrustful: () => isDistrustful,
  };
}
