import { readdirSync, readlinkSync } from 'node:fs';

/** The files below a folder that this process has open, deleted ones too (proc(5)). Needs Linux. */
export function openFiles(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(`${directory}/`) ? [path] : [];
    } catch {
      // The descriptor that listed them is gone by now.
      return [];
    }
  });
}
