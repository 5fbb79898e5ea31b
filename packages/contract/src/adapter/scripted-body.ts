import type { HttpResponse, WholeBytes } from '@proxycache/core';

/** A body that a case can look at while an adapter writes it. */
export interface ScriptedBody extends AsyncIterable<Uint8Array> {
  /** How many chunks were asked for. */
  readonly asked: number;
  /** Resolves when the body was closed before its end. */
  readonly closed: Promise<void>;
}

/** A chunk, `undefined` for the end, or a promise of it that may never settle. */
export type Step = Uint8Array | undefined | Promise<Uint8Array | undefined>;

/** Makes a body whose chunk number `index`, from 0, is what `step` gives. Written by hand, as the cache's own are. */
export function scriptedBody(step: (index: number) => Step): ScriptedBody {
  const closed = signal();
  let asked = 0;
  const end: IteratorResult<Uint8Array, undefined> = { done: true, value: undefined };
  const iterator: AsyncIterator<Uint8Array, undefined> = {
    async next() {
      const value = await step(asked++);
      return value === undefined ? end : { done: false, value };
    },
    async return() {
      closed.fire();
      return end;
    },
  };
  return {
    [Symbol.asyncIterator]: () => iterator,
    get asked() {
      return asked;
    },
    closed: closed.fired,
  };
}

/** A body of the chunks given. */
export function chunks(...texts: string[]): ScriptedBody {
  return scriptedBody((index) => (index < texts.length ? Buffer.from(texts[index] ?? '') : undefined));
}

/** A body that is here in one piece. */
export interface ScriptedWhole extends WholeBytes {
  /** Resolves when the adapter has done with its memory: whether all of it was sent, as far as it said so. */
  readonly over: Promise<boolean>;
}

/** Makes a body that can be had as a whole, or iterated, once. */
export function wholeBody(bytes: Uint8Array): ScriptedWhole {
  let settle = (_complete: boolean): void => undefined;
  const over = new Promise<boolean>((resolve) => {
    settle = resolve;
  });
  let uses = 0;
  const use = () => {
    if (++uses > 1) throw new Error('a body was read twice');
  };
  const chunk = scriptedBody((index) => {
    if (index > 0) return settle(true) as undefined;
    use();
    return bytes;
  });
  void chunk.closed.then(() => settle(false));
  return {
    [Symbol.asyncIterator]: () => chunk[Symbol.asyncIterator](),
    over,
    takeWhole() {
      use();
      return { bytes, over: settle };
    },
  };
}

/** A successful answer; `no-transform`, as every answer of the cache says. */
export function found(body: HttpResponse['body'], headers: HttpResponse['headers'] = {}): HttpResponse {
  return {
    status: 200,
    headers: {
      'content-type': 'application/vnd.oci.image.manifest.v1+json',
      'cache-control': 'no-cache, no-transform',
      ...headers,
    },
    body,
  };
}

/** Something that happens once. */
export interface Signal {
  readonly fired: Promise<void>;
  fire(): void;
}

/** Makes a signal that has not fired. */
export function signal(): Signal {
  let fire = (): void => undefined;
  const fired = new Promise<void>((resolve) => {
    fire = resolve;
  });
  return { fired, fire };
}
