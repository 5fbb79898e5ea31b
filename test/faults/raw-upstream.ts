import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** What is sent: texts byte by byte as latin1. What follows an answer, if anything, is sent until the peer leaves. */
export interface RawAnswer {
  bytes: string | Uint8Array;
  /** Sent again and again, as fast as it is taken, until the peer closes. */
  endless?: string;
  /** Whether the connection is closed behind it. */
  close?: boolean;
}

/** A registry with one image, that says to some requests whatever a test wants, down to the byte. */
export interface RawUpstream {
  readonly url: string;
  readonly image: RawImage;
  /** The request lines so far, as in `GET /v2/team/app/manifests/1`. */
  readonly requests: string[];
  /** Bytes that were handed to connections since the last `heal`, up to what the kernel holds. */
  sent(): number;
  /** Answers requests whose line matches in this way. */
  on(line: RegExp, answer: RawAnswer | ((line: string) => RawAnswer)): void;
  /** Back to the image. */
  heal(): void;
}

/** What the registry has under `team/app`, tag `1`. */
export interface RawImage {
  manifest: Buffer;
  digest: string;
  config: Buffer;
  layer: Buffer;
  layerDigest: string;
}

export const manifestType = 'application/vnd.oci.image.manifest.v1+json';
export const digestOf = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** An answer in good order. */
export function answer(status: string, headers: Readonly<Record<string, string>>, body: string | Uint8Array = '') {
  const bytes = Buffer.from(typeof body === 'string' ? Buffer.from(body) : body);
  const all = { 'Content-Length': String(bytes.byteLength), ...headers };
  return { bytes: Buffer.concat([Buffer.from(head(status, all), 'latin1'), bytes]) };
}

/** A status line and headers, with the empty line. */
export function head(status: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status}\r\n${lines.join('')}\r\n`;
}

export function makeImage(layer: Buffer = Buffer.alloc(100_000, 'a layer')): RawImage {
  const config = Buffer.from('{"os":"linux"}');
  const entry = (bytes: Buffer, mediaType: string) => ({ mediaType, digest: digestOf(bytes), size: bytes.byteLength });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: entry(config, 'application/vnd.oci.image.config.v1+json'),
      layers: [entry(layer, 'application/vnd.oci.image.layer.v1.tar')],
    }),
  );
  return { manifest, digest: digestOf(manifest), config, layer, layerDigest: digestOf(layer) };
}

/** Starts one on a loopback port; it ends with the test. */
export async function startRawUpstream(image: RawImage = makeImage()): Promise<RawUpstream> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  let scripts: [line: RegExp, answer: RawAnswer | ((line: string) => RawAnswer)][] = [];
  let sent = 0;

  function registry(line: string): RawAnswer {
    const name = line.slice(line.lastIndexOf('/') + 1);
    const isHead = line.startsWith('HEAD ');
    const give = (bytes: Buffer, headers: Record<string, string>) => {
      const full = { 'Content-Length': String(bytes.byteLength), ...headers };
      return isHead ? { bytes: head('200 OK', full) } : answer('200 OK', headers, bytes);
    };
    if (line.includes('/manifests/') && (name === '1' || name === image.digest)) {
      return give(image.manifest, { 'Content-Type': manifestType, 'Docker-Content-Digest': image.digest });
    }
    const blob = [image.config, image.layer].find((bytes) => digestOf(bytes) === name);
    if (blob) return give(blob, { 'Content-Type': 'application/octet-stream', 'Docker-Content-Digest': name });
    const error = '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}';
    const type = { 'Content-Type': 'application/json', 'Content-Length': String(error.length) };
    return isHead ? { bytes: head('404 Not Found', type) } : answer('404 Not Found', type, error);
  }

  async function write(socket: Socket, bytes: string | Uint8Array): Promise<void> {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    sent += buffer.byteLength;
    if (!socket.write(buffer) && !socket.destroyed) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
  }

  async function say(socket: Socket, line: string): Promise<void> {
    requests.push(line);
    const script = scripts.find(([match]) => match.test(line))?.[1];
    const said = typeof script === 'function' ? script(line) : (script ?? registry(line));
    await write(socket, said.bytes);
    while (said.endless !== undefined && !socket.destroyed) await write(socket, said.endless);
    if (said.close) socket.end();
  }

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk;
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const line = text.slice(0, text.indexOf(' HTTP/1.1'));
        text = text.slice(end + 4);
        say(socket, line).catch(() => undefined);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    image,
    requests,
    sent: () => sent,
    on: (line, said) => void scripts.unshift([line, said]),
    heal() {
      scripts = [];
      sent = 0;
      requests.length = 0;
    },
  };
}
