// CPU time of this process and of all that it started.

import { readdirSync, readFileSync } from 'node:fs';

const TICKS = 100;

// Seconds; NaN where there is no /proc.
export function cpuSeconds() {
  const children = new Map();
  const used = new Map();
  let names = [];
  try {
    names = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return NaN;
  }
  for (const name of names) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // from the state on
      const [pid, parent] = [Number(name), Number(fields[1])];
      used.set(pid, (Number(fields[11]) + Number(fields[12])) / TICKS);
      children.set(parent, [...(children.get(parent) ?? []), pid]);
    } catch {
      // It ended meanwhile.
    }
  }
  const total = (pid) => (used.get(pid) ?? 0) + (children.get(pid) ?? []).reduce((sum, child) => sum + total(child), 0);
  return total(process.pid);
}
