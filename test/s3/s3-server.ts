import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { type Daemon, startDaemon } from '../peers/daemon.ts';
import { onFreePort } from '../peers/free-port.ts';
import { type Restartable, restartable } from '../peers/restartable.ts';
import { makeTemporaryFolder, removeFolder } from '../peers/temporary-folder.ts';
import { lacking } from '../system.ts';

/**
 * A program that speaks S3: `versitygw`, Versity's gateway over a folder, which scripts/s3-gateway.mjs builds where Go is;
 * `s3rver`, an old one of npm, which knows nothing of checksums and conditions, anywhere.
 */
export type S3Program = 'versitygw' | 's3rver';

/** An S3 server on a free port of 127.0.0.1, with a folder of its own. It keeps its port and its data over `start`. */
export interface S3Server extends Restartable {
  readonly program: S3Program;
  /** Its base URL. */
  readonly endpoint: string;
  readonly port: number;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** What a client is made with. */
  readonly config: S3ClientConfig;
  /** A bucket that is there from the start. */
  readonly bucket: string;
  /** Ends it and removes what it had. */
  close(): Promise<void>;
}

const gateway = fileURLToPath(new URL('../../node_modules/.cache/s3-gateway/versitygw', import.meta.url));
const region = 'us-east-1';
const bucket = 'blobs';

/** The programs that are here. Without the gateway: as `requireProgram`. */
export function s3Programs(): readonly S3Program[] {
  if (existsSync(gateway)) return ['versitygw', 's3rver'];
  lacking('the S3 gateway is not built: node scripts/s3-gateway.mjs, which needs Go');
  return ['s3rver'];
}

/** Starts one with an empty bucket. Default: the best that is here. */
export async function startS3Server(
  program: S3Program = existsSync(gateway) ? 'versitygw' : 's3rver',
): Promise<S3Server> {
  const folder = makeTemporaryFolder('s3');
  const start = async (port: number) => {
    const daemon = launch[program](folder, port);
    await daemon.until(async () => (await fetch(`http://127.0.0.1:${port}/`)).status > 0);
    return daemon;
  };
  const first = await onFreePort(start);
  const { port } = first;
  const endpoint = `http://127.0.0.1:${port}`;
  const config = configOf(program, endpoint);
  await makeBucket(config);
  const server = restartable(first.started, () => start(port));
  return {
    ...server,
    program,
    endpoint,
    port,
    ...credentials[program],
    config,
    bucket,
    async close() {
      await server.kill();
      removeFolder(folder);
    },
  };
}

const credentials: Readonly<Record<S3Program, { accessKeyId: string; secretAccessKey: string }>> = {
  versitygw: { accessKeyId: 'proxycache', secretAccessKey: 'made-for-tests' },
  // It knows no other.
  s3rver: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
};

const launch: Readonly<Record<S3Program, (folder: string, port: number) => Daemon>> = {
  versitygw(folder, port) {
    // Facts about objects in files of their own: not every temporary folder has extended attributes.
    const [data, sidecar] = [join(folder, 'data'), join(folder, 'sidecar')];
    for (const made of [data, sidecar]) mkdirSync(made, { recursive: true });
    const listen = ['--port', `127.0.0.1:${port}`, '--region', region, '--keep-alive', '--quiet'];
    const { accessKeyId, secretAccessKey } = credentials.versitygw;
    return startDaemon(gateway, [...listen, 'posix', '--sidecar', sidecar, data], {
      ROOT_ACCESS_KEY_ID: accessKeyId,
      ROOT_SECRET_ACCESS_KEY: secretAccessKey,
    });
  },
  s3rver(folder, port) {
    const program = createRequire(import.meta.url).resolve('s3rver/bin/s3rver.js');
    const listen = ['--address', '127.0.0.1', '--port', String(port), '--silent', '--no-vhost-buckets'];
    return startDaemon(process.execPath, [program, '--directory', join(folder, 'data'), ...listen]);
  },
};

function configOf(program: S3Program, endpoint: string): S3ClientConfig {
  return {
    endpoint,
    region,
    forcePathStyle: true,
    credentials: credentials[program],
    // It takes the checksums that the SDK sends behind a body for a part of it.
    ...(program === 's3rver' && { requestChecksumCalculation: 'WHEN_REQUIRED' as const }),
  };
}

async function makeBucket(config: S3ClientConfig): Promise<void> {
  const client = new S3Client(config);
  try {
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
  } finally {
    client.destroy();
  }
}
