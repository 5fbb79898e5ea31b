import { describe, expect, it } from 'vitest';
import { createWires } from './wires.ts';

const url = new URL('https://registry.example/v2/a/blobs/b');
const blob = { url, method: 'GET', long: true } as const;
const length = { 'content-length': '5' };

describe('a request', () => {
  it('for content goes over a lane, all others over undici', () => {
    const wires = createWires(true);
    expect(wires.of(blob)).toBe('lane');
    expect(wires.of({ ...blob, long: false })).toBe('undici');
    expect(wires.of({ ...blob, method: 'HEAD' })).toBe('undici');
  });

  it('goes over undici where there are no lanes, as through a proxy', () => {
    expect(createWires(false).of(blob)).toBe('undici');
  });

  it.each([
    ['redirects', { status: 307, headers: length }],
    ['does not say how long its content is', { status: 200, headers: {} }],
  ])('goes over undici to a host that %s, until it answers in the usual way', (_what, answer) => {
    const wires = createWires(true);
    wires.learn(blob, answer);
    expect(wires.of(blob)).toBe('undici');
    expect(wires.of({ ...blob, url: new URL('https://cdn.example/') })).toBe('lane');
    for (const status of [401, 404, 503]) wires.learn(blob, { status, headers: {} });
    expect(wires.of(blob)).toBe('undici');
    wires.learn(blob, { status: 206, headers: length });
    expect(wires.of(blob)).toBe('lane');
  });

  it('for other things than content says nothing of it', () => {
    const wires = createWires(true);
    wires.learn({ ...blob, long: false }, { status: 307, headers: {} });
    expect(wires.of(blob)).toBe('lane');
  });
});
