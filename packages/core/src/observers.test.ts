import { expect, it } from 'vitest';
import { createObservers } from './observers.ts';

const event = { type: 'warning', message: 'look' } as const;

it('tells each observer each event, until it leaves, in the order they came', () => {
  const told: string[] = [];
  const observers = createObservers(() => told.push('first'));
  const leave = observers.add(() => told.push('second'));
  observers.add(() => told.push('third'));
  observers.tell(event);
  leave();
  leave();
  observers.tell(event);
  expect(told).toEqual(['first', 'second', 'third', 'first', 'third']);
});

it('counts a function that is added twice as two', () => {
  let told = 0;
  const count = () => void told++;
  const observers = createObservers(undefined);
  observers.add(count)();
  observers.add(count);
  observers.add(count);
  observers.tell(event);
  expect(told).toBe(2);
});

it('goes on with the others when one throws or leaves while it is told', () => {
  const told: string[] = [];
  const observers = createObservers(() => {
    throw new Error('its own trouble');
  });
  const leave = observers.add(() => leave());
  observers.add(() => told.push('last'));
  observers.tell(event);
  expect(told).toEqual(['last']);
});

it('says what an observer has to be', () => {
  const { add } = createObservers(undefined);
  expect(() => add('log' as never)).toThrow('observe: observer: expected a function, received "log"');
});
