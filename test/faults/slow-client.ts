import { get, type IncomingMessage } from 'node:http';

/** A client that reads as far as a test lets it. */
export interface SlowClient {
  readonly status: number | undefined;
  /** Reads on until it has that many bytes. */
  readTo(bytes: number): Promise<void>;
  /** Reads on to the end, and gives all. */
  rest(): Promise<Buffer>;
}

/** Asks, on a connection of its own, and takes no more than the first bytes. */
export async function slowClient(url: string, range?: string): Promise<SlowClient> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent: false, headers: range === undefined ? {} : { range } }, resolve).on('error', reject);
  });
  const reader = answer[Symbol.asyncIterator]();
  const chunks: Buffer[] = [];
  let received = 0;

  async function read(): Promise<boolean> {
    const { done, value } = await reader.next();
    if (done) return false;
    chunks.push(value);
    received += value.byteLength;
    return true;
  }
  await read();
  return {
    status: answer.statusCode,
    async readTo(bytes) {
      while (received < bytes) if (!(await read())) throw new Error(`ended after ${received} bytes`);
    },
    async rest() {
      while (await read());
      return Buffer.concat(chunks);
    },
  };
}
