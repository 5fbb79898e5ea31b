import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runOk } from './run-command.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

const source = `
#include <stdio.h>
int main(void) {
  char text[256];
  FILE *file = fopen("/message", "r");
  if (file == NULL) return 1;
  size_t length = fread(text, 1, sizeof text, file);
  return fwrite(text, 1, length, stdout) == length ? 0 : 1;
}
`;

/** A static program for this machine that prints the file /message: it tells in a container which image runs. */
export async function compileHello(): Promise<Uint8Array> {
  const folder = makeTemporaryFolder('hello');
  try {
    writeFileSync(join(folder, 'hello.c'), source);
    const program = join(folder, 'hello');
    await runOk({ program: 'gcc', args: ['-static', '-Os', '-s', '-o', program, join(folder, 'hello.c')] });
    return readFileSync(program);
  } finally {
    removeFolder(folder);
  }
}
