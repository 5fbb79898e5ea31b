import type { Bench } from '../bench.ts';
import type { Image } from '../content.ts';
import { drain } from '../load/drain.ts';
import { MiB, measured, untilIdle, usageValues } from '../measure.ts';
import type { Metric } from '../report/metrics.ts';
import { median } from '../report/statistics.ts';
import { type Performer, pullPaths, type Stage } from '../stage.ts';

/** Pulls an image that is not stored as clients do, three blobs at once. */
export async function pull(
  bench: Bench,
  stage: Stage,
  { performer, image }: { performer: Performer; image: Image },
): Promise<Partial<Record<Metric, number>>> {
  await stage.origin.take();
  const [{ wallMs: wall, firstByteMs }, usage] = await measured(performer, async () => {
    const drained = await drain(bench.tools.drain, performer.url, { paths: pullPaths(image), connections: 3 });
    // What a cache goes on storing counts for its CPU, not for the client's time.
    await untilIdle(performer);
    return drained;
  });
  const { blobGets: upstreamGets, bytes } = await stage.origin.take();
  const [manifestFirstByte = 0, ...ofBlobs] = firstByteMs;
  const firstByte = median(ofBlobs);
  return { wall, manifestFirstByte, firstByte, ...usageValues(usage), upstreamGets, upstreamMiB: bytes / MiB };
}
