import { GetObjectCommand } from '@aws-sdk/client-s3';
import { ProxyCacheError } from '@proxycache/core';
import type { S3Settings } from './settings.ts';

/** A URL by which whoever has it may read an object for a while. It is a secret, and in nothing that is told. */
export async function presigned({ bucket, client, redirectReads }: S3Settings, key: string): Promise<string> {
  const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner').catch((cause) => {
    const message = 's3: redirectReads: install @aws-sdk/s3-request-presigner';
    throw new ProxyCacheError('storage-failed', message, { cause });
  });
  const command = new GetObjectCommand({ Bucket: bucket, Key: key });
  const { client: signer = client, validForSeconds: expiresIn = 0 } = redirectReads ?? {};
  return await getSignedUrl(signer, command, { expiresIn });
}
