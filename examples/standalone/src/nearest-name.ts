/** The name that was probably meant: the closest by insertions, deletions and substitutions, if any is close. */
export function nearestName(name: string, names: Iterable<string>): string | undefined {
  let nearest: { name: string; distance: number } | undefined;
  for (const candidate of names) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (!nearest || distance < nearest.distance) nearest = { name: candidate, distance };
  }
  const close = name.length < 4 ? 1 : Math.max(2, Math.floor(name.length / 3));
  return nearest && nearest.distance <= close ? nearest.name : undefined;
}

/** Levenshtein distance, a row of the matrix at a time. */
function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
