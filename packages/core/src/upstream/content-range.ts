/** The part that a response holds; `total` is missing where the server does not know it. */
export interface ContentRange {
  from: number;
  to: number;
  total?: number;
}

/** Reads `Content-Range: bytes 5-9/10` (RFC 9110 14.4); `undefined` for what contradicts itself, or is none. */
export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(value?.trim() ?? '');
  if (!match) return undefined;
  const [from, to] = [Number(match[1]), Number(match[2])];
  if (to < from) return undefined;
  if (match[3] === '*') return { from, to };
  const total = Number(match[3]);
  return to < total ? { from, to, total } : undefined;
}

/** The size that the `Content-Range` of a 416 tells, which has a star for the part (RFC 9110 15.5.17). */
export function parseUnsatisfied(value: string | undefined): number | undefined {
  const match = /^bytes \*\/(\d{1,15})$/i.exec(value?.trim() ?? '');
  return match ? Number(match[1]) : undefined;
}
