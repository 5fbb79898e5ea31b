import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandInput,
  type ListMultipartUploadsCommandOutput,
} from '@aws-sdk/client-s3';
import { brokenOff, type ListParts, listWithinMs } from './list-objects.ts';
import { isNoSuchUpload } from './s3-failure.ts';

type Place = Pick<ListMultipartUploadsCommandInput, 'KeyMarker' | 'UploadIdMarker'>;

/** Removes the parts of uploads of blobs that began at `before` or earlier. @returns of how many */
export async function abortUploads(
  parts: ListParts,
  { before, signal }: { before: number; signal: AbortSignal },
): Promise<number> {
  const { settings, calls, keys } = parts;
  const { client, bucket: Bucket } = settings;
  let aborted = 0;
  let after: Place | undefined = {};
  while (after) {
    const from: Place = after;
    const page: ListMultipartUploadsCommandOutput = await calls.run(
      { operation: 'ListMultipartUploads', signal, withinMs: listWithinMs, rests: false },
      ({ abortSignal }) =>
        client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: keys.blobs, ...from }), { abortSignal }),
    );
    for (const { Key: key = '', UploadId, Initiated } of page.Uploads ?? []) {
      if (keys.digest(key) === undefined || Initiated === undefined || Initiated.getTime() > before) continue;
      if (await abortUpload(parts, { key, uploadId: UploadId, signal })) aborted++;
    }
    after = page.IsTruncated === true ? nextPlace(page, from) : undefined;
  }
  return aborted;
}

/** How a listing goes on: as the page says, else behind what it showed last. */
function nextPlace(page: ListMultipartUploadsCommandOutput, before: Place): Place {
  const last = page.Uploads?.at(-1);
  const next: Place = page.NextKeyMarker
    ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
    : { KeyMarker: last?.Key, UploadIdMarker: last?.UploadId };
  const isElsewhere = next.KeyMarker !== before.KeyMarker || next.UploadIdMarker !== before.UploadIdMarker;
  if (next.KeyMarker !== undefined && isElsewhere) return next;
  throw brokenOff();
}

/** @returns whether it was still there: another process, or a rule of the bucket, may be removing the same ones */
async function abortUpload(
  { settings, calls }: ListParts,
  { key, uploadId, signal }: { key: string; uploadId: string | undefined; signal: AbortSignal },
): Promise<boolean> {
  const command = new AbortMultipartUploadCommand({ Bucket: settings.bucket, Key: key, UploadId: uploadId });
  try {
    await calls.run({ operation: 'AbortMultipartUpload', key, signal, rests: false }, ({ abortSignal }) =>
      settings.client.send(command, { abortSignal }),
    );
    return true;
  } catch (error) {
    if (isNoSuchUpload(error)) return false;
    throw error;
  }
}
