import type { RedisLink } from './redis.ts';

/** A connection that is there. */
export interface HeldLink {
  link: RedisLink;
  /** Since when, as all instants here by the clock's `monotonic()`. */
  since: number;
  /** When anything was answered for the last time. */
  answeredAt: number;
  /** When that was asked, or what was asked after it and answered before. */
  provenAt: number;
  /** What calls fail with while it answers later than anybody waits. */
  slow?: Error | undefined;
  /** Whether it is being found out whether it is answered. */
  isLooking?: boolean;
}

export const heldLink = (link: RedisLink, now: number): HeldLink => ({
  link,
  since: now,
  answeredAt: now,
  provenAt: now,
});

/** Notes the answer to what was asked at an instant. */
export function noteAnswer(held: HeldLink, { askedAt, now }: { askedAt: number; now: number }): void {
  held.answeredAt = now;
  held.provenAt = Math.max(held.provenAt, askedAt);
}

/** The connection, where nothing was answered that it asked after an instant. */
export const unproven = (held: HeldLink | undefined, after: number): HeldLink | undefined =>
  held !== undefined && held.provenAt <= after ? held : undefined;
