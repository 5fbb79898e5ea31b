import type { RunningIngest } from '../ingest/ingests.ts';
import { abortable } from '../runtime/collapse.ts';
import type { BlobAnswer } from './answer.ts';
import { toldSize } from './blob-proof.ts';
import { followedAnswer } from './followed-blob.ts';
import type { PassedPull } from './passed-blob.ts';
import type { PullParts } from './pull-parts.ts';
import { refusedReply } from './refusal.ts';
import { restOfBlob } from './rest-of-blob.ts';

/** A transfer that a client reads. `collapsed`: it was started for another one. */
export interface JoinedTransfer {
  ingest: RunningIngest;
  collapsed: boolean;
}

/**
 * One who waits for a transfer, then reads it. `undefined`: nobody holds what came of it any more.
 *
 * @throws as the transfer does
 */
export async function joinedAnswer(
  parts: PullParts,
  request: PassedPull,
  joined: JoinedTransfer,
): Promise<BlobAnswer | undefined> {
  const leave = joined.ingest.join();
  let answer: BlobAnswer | undefined;
  try {
    answer = await followed(parts, request, joined);
  } finally {
    if (!answer) leave();
  }
  const close = answer?.close;
  return answer && close && { ...answer, close: () => close().finally(leave) };
}

async function followed(
  parts: PullParts,
  request: PassedPull,
  { ingest, collapsed }: JoinedTransfer,
): Promise<BlobAnswer | undefined> {
  const { target, digest, signal, ranges } = request;
  const reply = await abortable(ingest.reply, signal);
  if (reply.kind !== 'found') {
    throw refusedReply(target, reply, { of: 'blob-unknown', subject: `blob ${digest}` });
  }
  const told = reply.value.total === undefined ? await toldSize(parts, target, { digest, signal }) : undefined;
  const hold = ingest.hold();
  if (!hold) return undefined;
  return await followedAnswer(ingest, hold, {
    digest,
    told,
    ranges,
    whole: target.upstream.coldRange === 'verify' && (ranges?.length ?? 0) > 0,
    goOn: (rest, { signal: ending, ...what }) => restOfBlob(parts, { target, digest, signal: ending }, rest, what),
    signal,
    cacheStatus: { hit: false, fwd: 'miss', fwdStatus: 200, stored: true, ...(collapsed && { collapsed }) },
  });
}
