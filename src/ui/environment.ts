import path from 'node:path';
import os from 'node:os';

/** `~` and `~/x` as a shell reads them; everything else as it is. */
export function expandHome(file: string, homedir: string = os.homedir()): string {
  if (file === '~') return homedir;
  return file.startsWith('~/') || file.startsWith('~\\') ? path.join(homedir, file.slice(2)) : file;
}

/**
 * The environment for the programs that are started: the one of this process with the user's folders first on PATH, and
 * without VS Code's own variables, which would turn a started program that is built on Electron or Node into another.
 */
export function programEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  folders: readonly string[],
): Record<string, string | undefined> {
  const kept = Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(?:ELECTRON_|VSCODE_)/.test(name) && name !== 'NODE_OPTIONS'),
  );
  // Windows writes it `Path`; two spellings in one environment would contradict each other.
  const name = Object.keys(kept).find((key) => key.toUpperCase() === 'PATH') ?? 'PATH';
  const parts = [...folders.map((folder) => expandHome(folder)), kept[name] ?? ''];
  return { ...kept, [name]: parts.filter((part) => part !== '').join(path.delimiter) };
}
