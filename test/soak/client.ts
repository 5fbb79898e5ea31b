import { type IncomingMessage, request as send } from 'node:http';

/** How a client reads. */
export type Pace =
  | 'steady'
  /** Reads so many bytes, then nothing until the promise resolves. */
  | { pauseAfter: number; until: Promise<void> }
  /** Reads so many bytes, then is gone; `0` leaves before the answer. */
  | { leaveAfter: number };

/** A request as a client sends it. */
export interface Asked {
  method: 'GET' | 'HEAD';
  path: string;
  headers?: Record<string, string>;
  pace?: Pace;
}

/** What a client has in the end. `status` 0: no answer. */
export interface Answered {
  status: number;
  headers: Readonly<Record<string, string | undefined>>;
  body: Buffer;
  /** `whole`: as long as was announced. `broken`: the connection broke, and why. `left`: by its own will. */
  end: 'whole' | 'broken' | 'left';
  failure?: string;
}

/** Asks on a connection of its own. Never rejects. `moved` is told of each chunk. */
export function ask(origin: string, asked: Asked, moved: () => void): Promise<Answered> {
  const { method, path, headers = {}, pace = 'steady' } = asked;
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    let answer: IncomingMessage | undefined;
    const request = send(`${origin}${path}`, { method, headers, agent: false });
    function end(how: Answered['end'], failure?: string): void {
      moved();
      request.destroy();
      resolve({
        status: answer?.statusCode ?? 0,
        headers: (answer?.headers ?? {}) as Answered['headers'],
        body: Buffer.concat(chunks),
        end: how,
        ...(failure !== undefined && { failure }),
      });
    }
    function leaves(): boolean {
      return typeof pace === 'object' && 'leaveAfter' in pace && length >= pace.leaveAfter;
    }
    request.on('error', (error) => end('broken', error.message));
    request.on('response', (response) => {
      answer = response;
      moved();
      response.on('data', (chunk: Buffer) => {
        moved();
        chunks.push(chunk);
        length += chunk.byteLength;
        if (leaves()) return end('left');
        if (typeof pace === 'object' && 'pauseAfter' in pace && length >= pace.pauseAfter) {
          response.pause();
          void pace.until.then(() => response.resume());
        }
      });
      response.on('error', (error) => end('broken', error.message));
      response.on('end', () => end(response.complete ? 'whole' : 'broken'));
    });
    request.on('finish', () => {
      if (leaves()) end('left');
    });
    request.end();
  });
}
