// Counts the bytes of all files below some folders, at once, whenever it is asked: in a process of its own, so that to look
// at thousands of files keeps no store waiting.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

process.on('message', (folders) => process.send(folders.reduce((bytes, folder) => bytes + bytesBelow(folder), 0)));

function bytesBelow(folder) {
  let bytes = 0;
  for (const entry of orNone(() => readdirSync(folder, { withFileTypes: true })) ?? []) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += bytesBelow(path);
    else bytes += orNone(() => statSync(path))?.size ?? 0;
  }
  return bytes;
}

/** It may go meanwhile. */
function orNone(look) {
  try {
    return look();
  } catch {
    return undefined;
  }
}
