import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { abortable, createFlights } from './collapse.ts';

/** Work that waits to be told its outcome. */
function controlled<T>() {
  const started: { signal: AbortSignal; resolve: (value: T) => void; reject: (error: unknown) => void }[] = [];
  const work = (signal: AbortSignal) =>
    new Promise<T>((resolve, reject) => {
      started.push({ signal, resolve, reject });
    });
  return { started, work };
}

/** Lets everything run that waits for nothing outside. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('createFlights', () => {
  it('does the work once for all who ask while it runs, and again for who asks later', async () => {
    const flights = createFlights<string>();
    const { started, work } = controlled<string>();
    const both = [flights.join('k', work), flights.join('k', work)];
    await settle();
    expect(started).toHaveLength(1);
    expect(flights.has('k')).toBe(true);
    started[0]!.resolve('one');
    expect(await Promise.all(both)).toEqual(['one', 'one']);
    expect(flights.has('k')).toBe(false);
    expect(started[0]!.signal.aborted).toBe(false);

    const later = flights.join('k', work);
    await settle();
    started[1]!.resolve('two');
    expect(await later).toBe('two');
  });

  it('keeps different keys apart', async () => {
    const flights = createFlights<string>();
    const results = ['a', 'b'].map((key) => flights.join(key, async () => key));
    expect(await Promise.all(results)).toEqual(['a', 'b']);
  });

  it('tells a failure to all who wait, and forgets it', async () => {
    const flights = createFlights<string>();
    const { started, work } = controlled<string>();
    const waiting = [flights.join('k', work), flights.join('k', work, new AbortController().signal)];
    await settle();
    started[0]!.reject(new Error('refused'));
    const outcomes = await Promise.allSettled(waiting);
    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.message)).toEqual([
      'refused',
      'refused',
    ]);
    expect(await flights.join('k', async () => 'fine')).toBe('fine');
  });

  it('tells work that throws at once as a failure', async () => {
    const flights = createFlights<string>();
    const throwing = () => {
      throw new Error('at once');
    };
    await expect(flights.join('k', throwing)).rejects.toThrow('at once');
    expect(flights.has('k')).toBe(false);
  });

  it('lets one who gives up go at once, and works on for the others', async () => {
    const flights = createFlights<string>();
    const { started, work } = controlled<string>();
    const leaving = new AbortController();
    const left = flights.join('k', work, leaving.signal);
    const stays = flights.join('k', work);
    await settle();
    leaving.abort(new Error('client left'));
    await expect(left).rejects.toThrow('client left');
    expect(started[0]!.signal.aborted).toBe(false);
    started[0]!.resolve('one');
    expect(await stays).toBe('one');
  });

  it('aborts the work when the last one leaves, and starts afresh for the next', async () => {
    const flights = createFlights<string>();
    const { started, work } = controlled<string>();
    const leaving = [new AbortController(), new AbortController()];
    const left = leaving.map((controller) => flights.join('k', work, controller.signal));
    await settle();
    for (const controller of leaving) controller.abort();
    await Promise.allSettled(left);
    expect(started[0]!.signal.aborted).toBe(true);
    expect(flights.has('k')).toBe(false);

    const next = flights.join('k', work);
    await settle();
    // The end of the work that was given up must not end its successor.
    started[0]!.reject(new Error('aborted'));
    await settle();
    expect(flights.has('k')).toBe(true);
    started[1]!.resolve('two');
    expect(await next).toBe('two');
  });

  it('starts nothing for one who has left already', async () => {
    const flights = createFlights<string>();
    const { started, work } = controlled<string>();
    await expect(flights.join('k', work, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
    await settle();
    expect(started).toHaveLength(0);
    expect(flights.has('k')).toBe(false);
  });

  it('aborts exactly the work that nobody waits for, in whatever order callers come and go', async () => {
    const step = fc.record({ caller: fc.nat({ max: 4 }), leaves: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const flights = createFlights<string>();
        const { started, work } = controlled<string>();
        const waiting = new Map<number, { controller: AbortController; result: Promise<unknown> }>();
        for (const { caller, leaves } of steps) {
          const entry = waiting.get(caller);
          if (leaves && entry) {
            entry.controller.abort();
            waiting.delete(caller);
          } else if (!leaves && !entry) {
            const controller = new AbortController();
            const result = flights.join('k', work, controller.signal).catch(() => 'left');
            waiting.set(caller, { controller, result });
          }
          await settle();
          expect(flights.has('k')).toBe(waiting.size > 0);
          expect(started.filter(({ signal }) => !signal.aborted)).toHaveLength(waiting.size > 0 ? 1 : 0);
        }
        for (const { signal, resolve } of started) resolve(signal.aborted ? 'aborted' : 'done');
        const results = await Promise.all([...waiting.values()].map(({ result }) => result));
        expect(results).toEqual(results.map(() => 'done'));
      }),
      { numRuns: 50 },
    );
  });
});

describe('abortable', () => {
  it('gives the outcome of what is in time', async () => {
    const { signal } = new AbortController();
    expect(await abortable(Promise.resolve(1), signal)).toBe(1);
    await expect(abortable(Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
  });

  it("gives the signal's reason as soon as it fires, or has fired", async () => {
    const controller = new AbortController();
    const never = new Promise<never>(() => undefined);
    const waiting = abortable(never, controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect(abortable(Promise.reject(new Error('unseen')), controller.signal)).rejects.toThrow('enough');
  });
});
