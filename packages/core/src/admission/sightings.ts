/**
 * When something was first seen, in ms since the epoch, as clocks said that may have been wrong: in ascending order, where
 * each but the last was said by a clock by which all after it were still to come.
 */
export type Sightings = readonly [number, ...number[]];

const mostSightings = 4;

/**
 * The latest that is not still to come: a clock that was ahead once holds nothing until its date, and one that is behind
 * for a while makes nothing older once it is right again. `undefined`: all are still to come.
 */
export function sightingBy(sightings: Sightings, now: number): number | undefined {
  return sightings.findLast((at) => at <= now);
}

/** The same, with one that is not still to come. */
export function withSighting(sightings: Sightings, now: number): Sightings {
  if (sightingBy(sightings, now) !== undefined) return sightings;
  return [now, ...sightings.slice(0, mostSightings - 1)];
}
