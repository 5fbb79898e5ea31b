import type { Turns } from './turns.ts';

/** A transfer and those who read it. */
export interface Readers {
  turns: Turns;
  /** Where each of them is. */
  positions: ReadonlySet<() => number>;
  /** How many of them wait for a turn. */
  waiting(): number;
  /** How far behind a reader still gets what came from memory. */
  inMemory(): number;
}

/** How many turns a transfer leaves to its readers at most before it takes its own. */
const mostTurns = 4;

/** Who is further behind than so many times what is in memory has joined late, or lost step for good. */
const reach = 4;

/**
 * Lets a transfer that has `received` so much take its turn among its readers. Where the host has no time for more, each
 * of them had one meanwhile; one who missed some of his, as his client was busy, would lose step, and cost this host a read
 * of the file for each further piece. So where most are about to, they have more turns than the transfer. It waits for
 * nobody whose client is slow: only while one of them waits for a turn himself does it leave one more.
 */
export async function keepStep(bytes: number, received: number, readers: Readers): Promise<void> {
  const { turns } = readers;
  await turns.take(bytes);
  for (let taken = 1; taken < mostTurns && areMostBehind(received, readers); taken++) await turns.take(0);
}

function areMostBehind(received: number, { positions, waiting, inMemory }: Readers): boolean {
  if (waiting() === 0) return false;
  const within = inMemory();
  let near = 0;
  let behind = 0;
  for (const position of positions) {
    const lag = received - position();
    if (lag > reach * within) continue;
    if (lag > within / 2) behind++;
    else near++;
  }
  return behind > near;
}
