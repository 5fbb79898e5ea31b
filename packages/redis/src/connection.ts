import { type Clock, ProxyCacheError } from '@proxycache/core';
import { within } from './deadline.ts';
import { joinFellows } from './fellows.ts';
import { type HeldLink, heldLink, noteAnswer, unproven } from './held-link.ts';
import { openInTime } from './open-in-time.ts';
import type { OpenLink, Redis, RedisCall, RedisEvent, RedisLink } from './redis.ts';
import { redisAway, redisFailure, replyCode } from './redis-failure.ts';

/** What a connection is made with. */
export interface ConnectionOptions {
  /** The server's name in messages, without secrets. */
  server: string;
  /** What all connections to it have in common, also when their names differ. Default: the name. */
  sameServer?: string;
  open: OpenLink;
  clock: Clock;
  answerWithinMs: number;
  tell: (event: RedisEvent) => void;
}

/** A connection that was lost sooner than this counts as one more failed attempt, or it would be tried in a loop. */
const steadyAfterMs = 5_000;
const firstPauseMs = 50;
const longestPauseMs = 2_000;

/** How long a connection may be idle before it is looked after: one whose server vanished would cost a call its deadline. */
const heartbeatMs = 5_000;

/**
 * One server, connected to from now on and again whenever the connection ends. While there is none, calls fail at once;
 * only the first attempt after a connection was there is waited for. A server that answers nothing within the deadline
 * counts as away: its connection is dropped, so that the next calls do not wait for it too. One that answers, and too
 * late, is asked no more but whether it has caught up: whoever has several questions waits for one of them. So is one
 * that another connection to the same server waited for in vain, unless it was answered meanwhile.
 */
export function createConnection(options: ConnectionOptions): Redis {
  const { server, sameServer = server, open, clock, answerWithinMs, tell } = options;
  let held: HeldLink | undefined;
  let attempt: Promise<void> | undefined;
  let worthWaiting = true;
  let failures = 0;
  let away: ProxyCacheError | undefined;
  let closed = false;
  const leaving = new AbortController();
  let cancelPause = (): void => undefined;
  let cancelHeartbeat = (): void => undefined;

  const closedError = () => new ProxyCacheError('closed', `the connection to Redis (${server}) was closed`);

  function connect(): void {
    attempt = openInTime(open, { clock, ms: answerWithinMs, leaving: leaving.signal }).then(connected, (cause) => {
      attempt = undefined;
      missed(cause);
      retry();
    });
  }

  /** Notes that there is no connection. */
  function missed(cause: unknown): void {
    worthWaiting = false;
    const first = away === undefined;
    away = redisAway(server, cause);
    if (first && !closed) tell({ type: 'redis-lost', server, error: away });
  }

  function retry(): void {
    if (closed) return;
    const pause = Math.min(firstPauseMs * 2 ** failures, longestPauseMs);
    failures++;
    // Many processes lose one server at the same instant, and must not come back at the same instant.
    cancelPause = clock.after(pause * (0.5 + Math.random() / 2), connect);
  }

  function connected(link: RedisLink): void {
    attempt = undefined;
    if (closed) {
      link.destroy();
      return;
    }
    const mine = heldLink(link, clock.monotonic());
    held = mine;
    away = undefined;
    worthWaiting = true;
    link.onLost((cause) => lose(mine, { cause, hangs: false }));
    watch(mine);
    tell({ type: 'redis-ready', server });
  }

  function lose(lost: HeldLink, { cause, hangs }: { cause: unknown; hangs: boolean }): void {
    if (held !== lost) return;
    held = undefined;
    cancelHeartbeat();
    lost.link.destroy();
    if (closed) return;
    const steady = clock.monotonic() - lost.since >= steadyAfterMs;
    if (steady) failures = 0;
    // A restart is over in a moment, so that one attempt is worth its wait; a server that hangs has cost enough.
    if (steady && !hangs) {
      connect();
    } else {
      missed(cause);
      retry();
    }
  }

  function watch(mine: HeldLink): void {
    cancelHeartbeat = clock.after(heartbeatMs, () => {
      if (held !== mine) return;
      const idle = clock.monotonic() - mine.answeredAt >= heartbeatMs;
      const asked = idle ? ask(['PING']) : Promise.resolve();
      asked.catch(() => undefined).finally(() => held === mine && watch(mine));
    });
  }

  function fallBehind(mine: HeldLink, error: Error): void {
    if (held !== mine || mine.slow !== undefined) return;
    mine.slow = error;
    const catchUp = async (): Promise<void> => {
      while (held === mine && mine.slow !== undefined) {
        const asked = ask(['PING'], {}, mine);
        await asked.then(
          () => {
            mine.slow = undefined;
          },
          // One that cannot be asked, as too much waits there, says so at once.
          () => new Promise<void>((resolve) => clock.after(firstPauseMs, resolve)),
        );
      }
    };
    void catchUp();
  }

  const doubtful = (forMs: number) => unproven(held, clock.monotonic() - forMs);
  const fellows = joinFellows(sameServer, {
    look(forMs) {
      const mine = doubtful(forMs);
      if (mine === undefined || mine.isLooking || mine.slow !== undefined) return;
      mine.isLooking = true;
      const looked = () => {
        mine.isLooking = false;
      };
      ask(['PING'], {}, mine).then(looked, looked);
    },
    giveUp({ forMs, withinMs, error }) {
      // Whoever is less patient does not speak for this one.
      const mine = withinMs < answerWithinMs ? undefined : doubtful(forMs);
      if (mine !== undefined) fallBehind(mine, error);
    },
  });

  async function usable(): Promise<HeldLink> {
    if (held === undefined && attempt !== undefined && worthWaiting) await attempt;
    if (held?.slow !== undefined) throw held.slow;
    if (held !== undefined) return held;
    throw closed ? closedError() : (away ?? redisAway(server, new Error('not connected yet')));
  }

  function ask(args: readonly string[], { signal, sent }: RedisCall = {}, by?: HeldLink): Promise<unknown> {
    const command = args[0] ?? '';
    let used: HeldLink | undefined;
    let sentAt = 0;
    let hasLooked = false;
    let isLate = false;
    const late = () => {
      isLate = true;
      const error = new ProxyCacheError(
        'storage-failed',
        `Redis (${server}) did not answer ${command} within ${answerWithinMs} ms`,
      );
      if (used === undefined) return error;
      // Where others were answered meanwhile, the server is slow, not away.
      if (used.answeredAt <= sentAt) lose(used, { cause: error, hangs: true });
      else fallBehind(used, error);
      if (hasLooked) fellows.giveUp({ forMs: clock.monotonic() - sentAt, withinMs: answerWithinMs, error });
      return error;
    };
    const halfway = () => {
      if (used === undefined) return;
      hasLooked = true;
      fellows.look(clock.monotonic() - sentAt);
    };
    return within({ clock, ms: answerWithinMs, signal, halfway, late }, async () => {
      const connection = by ?? (await usable());
      // Nobody waits for it: it may take a lease that nobody would hold.
      if (isLate) throw late();
      signal?.throwIfAborted();
      used = connection;
      sentAt = clock.monotonic();
      sent?.();
      try {
        const reply = await connection.link.send(args);
        noteAnswer(connection, { askedAt: sentAt, now: clock.monotonic() });
        return reply;
      } catch (cause) {
        const code = replyCode(cause);
        if (code !== undefined) noteAnswer(connection, { askedAt: sentAt, now: clock.monotonic() });
        // A primary that became a replica: whoever is the primary now is to be found anew.
        if (code === 'READONLY') lose(connection, { cause, hangs: false });
        throw closed ? closedError() : redisFailure(server, command, cause);
      }
    });
  }

  connect();
  return {
    isCluster: false,
    async send(_key, args, call) {
      call.signal?.throwIfAborted();
      if (closed) throw closedError();
      return await ask(args, call);
    },
    async close() {
      if (closed) return;
      closed = true;
      fellows.leave();
      cancelPause();
      cancelHeartbeat();
      leaving.abort(closedError());
      held?.link.destroy();
      held = undefined;
    },
  };
}
