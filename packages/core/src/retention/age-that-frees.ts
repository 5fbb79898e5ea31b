const parts = 256;

/**
 * The least instant before which so much weight was last used; `undefined`: there is nothing that weighs anything. Where all
 * together weighs less, one after all of it.
 */
export function ageThatFrees(
  usedAt: readonly number[],
  weights: readonly number[],
  wanted: number,
): number | undefined {
  let [from, to] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const at of usedAt) [from, to] = [Math.min(from, at), Math.max(to, at)];
  if (usedAt.length === 0 || wanted <= 0) return undefined;
  // Instants are whole: the end is the first that all lie before.
  to = Math.floor(to) + 1;
  from = Math.floor(from);
  let left = wanted;
  while (to - from > 1) {
    const width = Math.max((to - from) / parts, 1);
    const sums = new Float64Array(parts + 1);
    for (const [index, at] of usedAt.entries()) {
      if (at < from || at >= to) continue;
      const part = Math.min(Math.floor((at - from) / width), parts);
      sums[part] = (sums[part] as number) + (weights[index] as number);
    }
    let part = 0;
    while (part < parts && left > (sums[part] as number)) left -= sums[part++] as number;
    const start = Math.ceil(from + part * width);
    const end = Math.min(Math.ceil(from + (part + 1) * width), to);
    if (start >= to || (start <= from && end >= to)) return to;
    [from, to] = [start, end];
  }
  return to;
}
