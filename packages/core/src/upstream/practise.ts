import { collect } from '../runtime/bytes.ts';
import { systemClock } from '../runtime/clock.ts';
import { createBlobs } from './blobs.ts';
import { bytesByDeadline } from './by-deadline.ts';
import { receive } from './exchange.ts';
import { replay } from './lane-replay.ts';
import { createManifests } from './manifests.ts';
import type { Ask, Question } from './question.ts';

const digest = `sha256:${'0'.repeat(64)}` as const;
const descriptor = `{"mediaType":"application/vnd.oci.empty.v1+json","digest":"${digest}","size":2}`;
const manifest = `{"schemaVersion":2,"config":${descriptor},"layers":[${descriptor}]}`;
const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${manifest.length}\r\nContent-Type: application/json\r\n\r\n${manifest}`;

const origin = 'http://practice.invalid';
const url = new URL(origin);
const mostMs = 10_000;

/**
 * Asks for a manifest and a blob, and reads the answers, all within the process: nobody is connected to. What is made
 * ready at the first request (undici compiles its parser, Node our code) is ready then, and no client waits for it. Never
 * rejects.
 *
 * @returns whether both were read
 */
export async function practise(): Promise<boolean> {
  const { signal } = new AbortController();
  const query = { repository: 'practice', scope: '-', deadlineAt: systemClock.monotonic() + mostMs, signal };
  try {
    const { fetchManifest } = createManifests(ask, { key: 'practice', maxManifestBytes: 4096, markers: [] });
    await fetchManifest({ ...query, reference: { kind: 'tag', tag: '1' } });
    const reply = await createBlobs(ask, { key: 'practice', markers: [] }).fetchBlob({ ...query, digest, from: 0 });
    return reply.kind === 'found' && (await collect(reply.value.body, manifest.length)) !== undefined;
  } catch {
    // Then it is made ready at the first request, which says what is wrong.
    return false;
  }
}

const ask: Ask = async (question) => {
  const { client } = replay(origin, {
    first: Buffer.from(answer),
    more: () => undefined,
    takesMore: () => true,
    close: () => undefined,
  });
  const response = await receive(planOf(question), {
    connection: { dispatcher: client, valve: undefined },
    clock: systemClock,
    hooks: { late, broken: (error) => error, done: () => void client.destroy().catch(() => undefined) },
    signal: question.signal,
  });
  const body = bytesByDeadline(response.body, question, { clock: systemClock, late });
  return { ...response, body, fromOwnOrigin: true, url };
};

const late = () => new Error('practice took too long');

function planOf({ method, path, headers = {} }: Question): Parameters<typeof receive>[0] {
  return {
    request: { origin, path: `/v2/${path}`, method, headers },
    host: { tls: { insecure: false }, isOwn: true },
    limits: { connect: mostMs, headers: mostMs, idle: mostMs, within: mostMs },
  };
}
