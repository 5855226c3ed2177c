/** A real VS Code (code-server) for one test, bench or demo: own folders, own port, nothing left behind. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startProcess } from '../processes.ts';
import { codeServerEntry } from './install.ts';

/** Settings that keep VS Code quiet: no Welcome page, no chat, no telemetry, no updates. */
const quietSettings = {
  'workbench.startupEditor': 'none',
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.tips.enabled': false,
  'workbench.enableExperiments': false,
  'workbench.colorTheme': 'Dark Modern',
  'chat.disableAIFeatures': true,
  'telemetry.telemetryLevel': 'off',
  'extensions.autoCheckUpdates': false,
  'extensions.autoUpdate': 'off',
  'extensions.ignoreRecommendations': true,
  'update.mode': 'none',
  'git.enabled': false,
  'remote.autoForwardPorts': false,
  'json.schemaDownload.enable': false,
};

export interface VSCodeOptions {
  /** Settings besides the quiet ones. */
  settings?: Record<string, unknown>;
  /** Environment of the extension host, besides this process' own. */
  env?: NodeJS.ProcessEnv;
  /** Packaged extensions to install. */
  extensions?: readonly string[];
  /**
   * Allows `extensionTestsPath` in the page's address, see `extensionHostTests.ts`. VS Code then shows no toasts and
   * refuses dialogs, so leave it off where a person's way is driven.
   */
  forExtensionTests?: boolean;
  /** Display language, `en` when absent. */
  locale?: string;
  /** Folder that gets a copy of VS Code's logs when it ends. */
  keepLogsIn?: string;
  /** Port of the page; a free one when absent. */
  port?: number;
}

/** A running VS Code. */
export interface VSCode {
  /** Authority of the page, `127.0.0.1:<port>`. */
  readonly authority: string;
  /** An empty folder to open. */
  readonly workspace: string;
  readonly userData: string;
  /** Address that opens a folder, the workspace when absent. */
  url(folder?: string): string;
  /** Text of a file below the logs whose path ends in `suffix`; empty when there is none. */
  log(suffix: string): string;
  /** What the extension under test wrote to its log. */
  extensionLog(): string;
  /** Ends the server and everything it started, and deletes its folders. */
  stop(): Promise<void>;
}

/** A TCP port on which nothing listens on 127.0.0.1. */
export async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port);
        else reject(new Error('no port'));
      });
    });
  });
}

function environment(folder: string, extra: NodeJS.ProcessEnv | undefined): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    EXTENSIONS_GALLERY: '{"serviceUrl":""}',
    XDG_CONFIG_HOME: path.join(folder, 'config'),
    XDG_DATA_HOME: path.join(folder, 'data'),
    XDG_CACHE_HOME: path.join(folder, 'cache'),
    XDG_RUNTIME_DIR: path.join(folder, 'run'),
    TMPDIR: path.join(folder, 'run'),
    ...extra,
  };
  for (const name of Object.keys(env))
    if (name.startsWith('VSCODE_') || name.startsWith('VITEST') || name === 'NODE_OPTIONS' || name === 'NODE_ENV')
      Reflect.deleteProperty(env, name);
  return env;
}

/** Installs the extensions and starts VS Code; resolves when it answers. */
export async function startVSCode(options: VSCodeOptions = {}): Promise<VSCode> {
  const folder = mkdtempSync(path.join(tmpdir(), 'vscode-'));
  const userData = path.join(folder, 'user');
  const extensions = path.join(folder, 'extensions');
  const workspace = path.join(folder, 'workspace');
  const logFile = path.join(folder, 'server.log');
  for (const each of [
    path.join(userData, 'User'),
    path.join(userData, 'Machine'),
    extensions,
    workspace,
    path.join(folder, 'run'),
  ])
    mkdirSync(each, { recursive: true });
  const settings = JSON.stringify({ ...quietSettings, ...options.settings }, undefined, 2);
  // This window is a remote one to VS Code: settings of scope machine count only in the machine's file.
  for (const file of ['User/settings.json', 'Machine/settings.json'])
    writeFileSync(path.join(userData, file), settings);
  const env = environment(folder, options.env);
  const folders = [
    '--user-data-dir',
    userData,
    '--extensions-dir',
    extensions,
    '--config',
    path.join(folder, 'config.yaml'),
  ];

  try {
    for (const vsix of options.extensions ?? []) {
      const install = startProcess(process.execPath, [codeServerEntry, '--install-extension', vsix, ...folders], {
        env,
        logFile,
      });
      const { code } = await install.exited;
      if (code !== 0) throw new Error(`VS Code did not install ${vsix}:\n${readFileSync(logFile, 'utf8')}`);
    }
    const port = options.port ?? (await freePort());
    const args = [
      ...[codeServerEntry, '--auth', 'none', '--bind-addr', `127.0.0.1:${port}`, ...folders],
      ...[
        '--disable-telemetry',
        '--disable-update-check',
        '--disable-workspace-trust',
        '--disable-getting-started-override',
      ],
      ...(options.forExtensionTests === true ? ['--vscode-option', 'enable-smoke-test-driver'] : []),
      ...(options.locale === undefined ? [] : ['--locale', options.locale]),
    ];
    const server = startProcess(process.execPath, args, { env, logFile, cwd: workspace });
    await ready(port, server.exited, logFile);
    const log = (suffix: string): string => {
      const logs = path.join(userData, 'logs');
      const file = readdirSync(logs, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith(suffix));
      return file === undefined ? '' : readFileSync(path.join(logs, file), 'utf8');
    };
    return {
      authority: `127.0.0.1:${port}`,
      workspace,
      userData,
      url: (open = workspace) => `http://127.0.0.1:${port}/?folder=${encodeURIComponent(open)}`,
      log,
      extensionLog: () => log('milvus-layer7.milvus-layer7/Milvus Layer 7.log'),
      async stop() {
        await server.stop();
        if (options.keepLogsIn !== undefined)
          cpSync(path.join(userData, 'logs'), path.join(options.keepLogsIn, 'vscode'), { recursive: true });
        rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
      },
    };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    throw error;
  }
}

async function ready(port: number, exited: Promise<unknown>, logFile: string): Promise<void> {
  const abort = new AbortController();
  const end = (): void => {
    abort.abort();
  };
  exited.then(end, end);
  const deadline = Date.now() + 30_000;
  while (!abort.signal.aborted && Date.now() < deadline) {
    const answered = await fetch(`http://127.0.0.1:${port}/healthz`).then(
      (response) => response.ok,
      () => false,
    );
    if (answered) return;
    await sleep(100);
  }
  const what = abort.signal.aborted ? 'ended' : 'did not answer within 30 s';
  throw new Error(`VS Code ${what}:\n${readFileSync(logFile, 'utf8')}`);
}
