import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandInput,
  type ListMultipartUploadsCommandOutput,
} from '@aws-sdk/client-s3';
import type { ListParts } from './list-objects.ts';

/** Removes the parts of uploads of blobs that began at `before` or earlier. @returns of how many */
export async function abortUploads(
  { settings, calls, keys }: ListParts,
  { before, signal }: { before: number; signal: AbortSignal },
): Promise<number> {
  const { client, bucket: Bucket } = settings;
  let aborted = 0;
  let isLast = false;
  let after: Pick<ListMultipartUploadsCommandInput, 'KeyMarker' | 'UploadIdMarker'> = {};
  while (!isLast) {
    const from = after;
    const page: ListMultipartUploadsCommandOutput = await calls.run(
      { operation: 'ListMultipartUploads', signal },
      ({ abortSignal }) =>
        client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: keys.blobs, ...from }), { abortSignal }),
    );
    for (const { Key: key = '', UploadId, Initiated } of page.Uploads ?? []) {
      if (keys.digest(key) === undefined || Initiated === undefined || Initiated.getTime() > before) continue;
      await calls.run({ operation: 'AbortMultipartUpload', key, signal }, ({ abortSignal }) =>
        client.send(new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId }), { abortSignal }),
      );
      aborted++;
    }
    after = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    isLast = page.IsTruncated !== true || page.NextKeyMarker === undefined;
  }
  return aborted;
}
