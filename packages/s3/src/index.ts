export { type S3Blobs, s3Blobs } from './s3-blobs.ts';
export type { S3Event } from './s3-event.ts';
export type { S3BlobsOptions, S3RedirectOptions, S3UploadOptions } from './settings.ts';
