import type { HttpResponse } from '@proxycache/core';

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
