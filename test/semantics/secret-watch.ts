import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { FakeHost } from '@proxycache/test-kit';

/** Everything that came out of a cache, and where. */
export interface SecretWatch {
  /** Something came out: an answer, an event, an error. */
  saw(where: string, value: unknown): void;
  /** What files below a folder hold. */
  sawFiles(folder: string): void;
  /** What a host received. */
  sawRequests(where: string, host: FakeHost): void;
  /** Where any of these came out, in whatever encoding; `[]` is what a test wants. */
  leaks(secrets: readonly string[]): string[];
  /** How many things were looked at: 0 would prove nothing. */
  count(): number;
}

/** Makes an empty watch. */
export function secretWatch(): SecretWatch {
  const seen: { where: string; text: string }[] = [];
  const saw = (where: string, value: unknown) => void seen.push({ where, text: everythingIn(value) });
  return {
    saw,
    sawFiles(folder) {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        const file = join(folder, name);
        saw(`the name of ${file}`, name);
        if (statSync(file).isFile()) saw(`the file ${file}`, readFileSync(file).toString('latin1'));
      }
    },
    sawRequests(where, host) {
      for (const { method, path, query, headers, body } of host.requests) {
        saw(`a request to ${where}`, [method, path, query.toString(), headers, body]);
      }
    },
    leaks(secrets) {
      const forms = secrets.flatMap(formsOf);
      return seen.flatMap(({ where, text }) =>
        forms.filter((form) => text.includes(form)).map((form) => `${form} in ${where}: ${around(text, form)}`),
      );
    },
    count: () => seen.length,
  };
}

/** The ways in which a secret may be written. */
function formsOf(secret: string): string[] {
  const base64 = Buffer.from(secret).toString('base64').replace(/=+$/, '');
  return [...new Set([secret, encodeURIComponent(secret), base64, Buffer.from(secret).toString('hex')])];
}

function around(text: string, form: string): string {
  const at = text.indexOf(form);
  return text.slice(Math.max(0, at - 60), at + form.length + 60).replaceAll('\n', ' ');
}

/** All text in a value: its properties, also hidden ones, causes, buffers, keys of maps. */
function everythingIn(value: unknown): string {
  const texts: string[] = [
    inspect(value, { depth: Number.POSITIVE_INFINITY, maxStringLength: null, breakLength: 1e9 }),
  ];
  const visited = new Set<unknown>();
  const visit = (one: unknown): void => {
    if (typeof one === 'string') return void texts.push(one);
    if (typeof one !== 'object' || one === null || visited.has(one)) return;
    visited.add(one);
    if (one instanceof Uint8Array) return void texts.push(Buffer.from(one).toString('latin1'));
    if (one instanceof Map || one instanceof Set) for (const entry of one) visit(entry);
    for (const key of Reflect.ownKeys(one)) {
      texts.push(String(key));
      const property = Object.getOwnPropertyDescriptor(one, key);
      if (property && 'value' in property) visit(property.value);
    }
  };
  visit(value);
  return texts.join('\n');
}
