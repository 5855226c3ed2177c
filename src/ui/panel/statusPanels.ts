import * as vscode from 'vscode';
import type { Target } from '../../core/model.ts';
import { parseFromPage, type FromPageHandlers, type PanelState, type ToPage } from '../../shared/protocol.ts';
import { applySetup } from '../commands/runSetup.ts';
import { exportManifests } from '../commands/exportManifests.ts';
import { testConnection } from '../commands/testConnection.ts';
import { loadCore, type Core } from '../core.ts';
import type { ReleaseMonitor } from '../releaseMonitor.ts';
import { messageOf, UserError, type RunCommand } from '../runCommand.ts';
import type { Services } from '../services.ts';
import type { SetupSession } from '../setupSession.ts';
import type { Lease } from '../sharing.ts';
import { parseTarget, targetKey } from '../targets.ts';
import { DiffDocuments } from './diffDocuments.ts';
import { pageHtml } from './pageHtml.ts';
import { announcements, panelState, probeFixId } from './panelState.ts';
import { timeFormat } from './timeFormat.ts';

/** View type of the panel. */
export const viewType = 'milvusLayer7.status';

/** Changes that come together are drawn together, in milliseconds. */
const gatherMs = 60;

/** The panels, at most one for each release. */
export class StatusPanels implements vscode.Disposable, vscode.WebviewPanelSerializer {
  readonly #services: Services;
  readonly #runCommand: RunCommand;
  readonly #extensionUri: vscode.Uri;
  readonly #diffs = new DiffDocuments();
  readonly #panels = new Map<string, StatusPanel>();
  readonly #registration: vscode.Disposable;

  constructor(services: Services, runCommand: RunCommand, extensionUri: vscode.Uri) {
    this.#services = services;
    this.#runCommand = runCommand;
    this.#extensionUri = extensionUri;
    this.#registration = vscode.window.registerWebviewPanelSerializer(viewType, this);
  }

  /** Shows the panel of a release; opens it when there is none. */
  open(target: Target): void {
    const shown = this.#panels.get(targetKey(target));
    if (shown) {
      shown.reveal();
      return;
    }
    const panel = vscode.window.createWebviewPanel(viewType, target.release, vscode.ViewColumn.Active, this.#options());
    this.#add(panel, target);
  }

  /** Called by VS Code after a restart, with what the page kept. */
  deserializeWebviewPanel(panel: vscode.WebviewPanel, state: unknown): Promise<void> {
    const target = parseTarget(state);
    if (target && !this.#panels.has(targetKey(target))) {
      panel.webview.options = this.#options();
      this.#add(panel, target);
    } else panel.dispose();
    return Promise.resolve();
  }

  dispose(): void {
    this.#registration.dispose();
    for (const panel of [...this.#panels.values()]) panel.dispose();
    this.#diffs.dispose();
  }

  #options(): vscode.WebviewOptions & vscode.WebviewPanelOptions {
    return {
      enableScripts: true,
      enableForms: false,
      enableCommandUris: false,
      localResourceRoots: [vscode.Uri.joinPath(this.#extensionUri, 'dist', 'webview')],
    };
  }

  #add(panel: vscode.WebviewPanel, target: Target): void {
    const key = targetKey(target);
    const root = vscode.Uri.joinPath(this.#extensionUri, 'dist', 'webview');
    panel.iconPath = vscode.Uri.joinPath(this.#extensionUri, 'media', 'icon.png');
    const own = new StatusPanel(panel, target, this.#services, this.#runCommand, this.#diffs);
    this.#panels.set(key, own);
    panel.onDidDispose(() => {
      this.#panels.delete(key);
      own.dispose();
    });
    panel.webview.html = pageHtml(target, {
      script: panel.webview.asWebviewUri(vscode.Uri.joinPath(root, 'panel.js')).toString(),
      style: panel.webview.asWebviewUri(vscode.Uri.joinPath(root, 'panel.css')).toString(),
      cspSource: panel.webview.cspSource,
      language: vscode.env.language,
    });
  }
}

/** One panel: draws what is known of a release while it is visible, and does what is clicked. */
class StatusPanel implements vscode.Disposable {
  readonly #panel: vscode.WebviewPanel;
  readonly #target: Target;
  readonly #services: Services;
  readonly #runCommand: RunCommand;
  readonly #diffs: DiffDocuments;
  readonly #time = timeFormat(vscode.env.language);
  readonly #subscriptions: { dispose(): void }[];
  #core: Core | undefined;
  #monitor: Lease<ReleaseMonitor> | undefined;
  #monitorChanges: { dispose(): void } | undefined;
  /** Counts the times the monitor was asked for, so that a late answer is told from the last one. */
  #asked = 0;
  #problem: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #state: PanelState | undefined;
  /** What the page shows now; undefined when it must be told everything. */
  #posted: PanelState | undefined;
  #pageReady = false;
  #disposed = false;

  constructor(
    panel: vscode.WebviewPanel,
    target: Target,
    services: Services,
    runCommand: RunCommand,
    diffs: DiffDocuments,
  ) {
    this.#panel = panel;
    this.#target = target;
    this.#services = services;
    this.#runCommand = runCommand;
    this.#diffs = diffs;
    const ours = (changed: Target): void => {
      if (targetKey(changed) === targetKey(target)) this.#soon();
    };
    this.#subscriptions = [
      panel.webview.onDidReceiveMessage((message: unknown) => {
        this.#receive(message);
      }),
      panel.onDidChangeViewState(() => {
        this.#look();
      }),
      services.onDidReload(() => {
        this.#unlook();
        this.#look();
      }),
      services.onDidChangeSession(ours),
      services.probes.onChange(ours),
    ];
    this.#look();
  }

  reveal(): void {
    this.#panel.reveal();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    clearTimeout(this.#timer);
    this.#unlook();
    for (const subscription of this.#subscriptions) subscription.dispose();
    this.#services.dropSession(this.#target);
    this.#panel.dispose();
  }

  /** Watches the release while the panel can be seen. */
  #look(): void {
    if (!this.#panel.visible) {
      this.#unlook();
      // A hidden page does not get messages: it is told everything when it is seen again.
      this.#posted = undefined;
      return;
    }
    this.#soon();
    if (this.#monitor || this.#asked > 0) return;
    this.#asked += 1;
    const asked = this.#asked;
    void this.#acquire(() => this.#asked === asked && !this.#disposed);
  }

  async #acquire(wanted: () => boolean): Promise<void> {
    try {
      this.#core = await loadCore();
      const lease = await this.#services.monitor(this.#target);
      if (!wanted()) {
        lease.dispose();
        return;
      }
      this.#problem = undefined;
      this.#monitor = lease;
      this.#monitorChanges = lease.value.onChange(() => {
        this.#soon();
      });
    } catch (error) {
      if (wanted()) this.#problem = await messageOf(error);
    }
    this.#soon();
  }

  #unlook(): void {
    this.#asked = 0;
    this.#monitorChanges?.dispose();
    this.#monitorChanges = undefined;
    this.#monitor?.dispose();
    this.#monitor = undefined;
  }

  #soon(): void {
    if (this.#disposed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#draw();
    }, gatherMs);
  }

  #draw(): void {
    if (this.#disposed) return;
    this.#state = this.#compute();
    if (!this.#pageReady || !this.#panel.visible) return;
    if (this.#posted && JSON.stringify(this.#posted) === JSON.stringify(this.#state)) return;
    const said = announcements(this.#posted, this.#state);
    this.#posted = this.#state;
    this.#post({ type: 'snapshot', state: this.#state });
    if (said.length > 0) this.#post({ type: 'announce', text: said.join('. ') });
  }

  #compute(): PanelState {
    const view = this.#monitor?.value.view;
    const session = this.#services.session(this.#target);
    const probe = this.#services.probes.view(this.#target);
    const problem = this.#problem ?? view?.problem;
    const { status } = view ?? {};
    const snippets =
      status?.host !== undefined && this.#core
        ? this.#core.connectSnippets({
            host: status.host,
            ca: view?.ca !== undefined,
            ...(view?.caSource ? { secret: view.caSource } : {}),
            // Where DNS does not lead to the load balancer yet, the address does.
            ...(status.address !== undefined && status.stages.find(({ id }) => id === 'dns')?.state !== 'done'
              ? { address: status.address }
              : {}),
          })
        : [];
    return panelState(
      {
        target: this.#target,
        unfinished: view?.unfinished ?? false,
        snippets,
        now: Date.now(),
        ...(view?.release ? { release: view.release } : {}),
        ...(status ? { status } : {}),
        ...(view?.headline ? { headline: view.headline } : {}),
        ...(problem === undefined ? {} : { problem }),
        ...(view?.interruption === undefined ? {} : { interruption: view.interruption }),
        ...(session ? { setup: session.progress } : {}),
        ...(probe ? { probe } : {}),
      },
      this.#time,
    );
  }

  #post(message: ToPage): void {
    void this.#panel.webview.postMessage(message);
  }

  #receive(value: unknown): void {
    const message = parseFromPage(value);
    if (!message) {
      this.#services.log.warn('The page sent a message that is none of ours.');
      return;
    }
    void this.#runCommand(`panel.${message.type}`, () => {
      // Each handler takes the messages of its own type.
      const handle = this.#handlers[message.type] as (given: typeof message) => Promise<void> | void;
      return handle(message);
    });
  }

  readonly #handlers: FromPageHandlers<Promise<void> | void> = {
    ready: () => {
      this.#pageReady = true;
      this.#posted = undefined;
      this.#soon();
    },
    refresh: async () => {
      if (this.#monitor) {
        await this.#monitor.value.refresh();
        const session = this.#services.session(this.#target);
        if (session && session.progress.phase !== 'done') await session.planAgain();
      } else {
        this.#unlook();
        this.#look();
      }
    },
    setUp: async () => {
      await vscode.commands.executeCommand('milvusLayer7.setUp', this.#target);
    },
    apply: async () => {
      await applySetup(this.#services, this.#session(), () => !this.#disposed && this.#panel.visible);
    },
    cancel: () => {
      this.#session().cancel();
    },
    testConnection: async () => {
      if (this.#services.probes.view(this.#target)?.running === true) this.#services.probes.cancel(this.#target);
      else await testConnection(this.#services, this.#target);
    },
    showDiff: async ({ step }) => {
      const diff = await vscode.window.withProgress(
        { location: vscode.ProgressLocation.Window, title: vscode.l10n.t('Asking for a dry run …') },
        () => this.#session().diff(step),
      );
      if (diff) await this.#diffs.show(`${this.#target.release}-${step}`, diff);
    },
    exportManifests: async () => {
      await exportManifests(this.#session());
    },
    copy: async ({ what, id }) => {
      const text = what === 'snippet' ? this.#snippet(id) : this.#fix(id);
      if (text === undefined) return;
      await vscode.env.clipboard.writeText(text);
      this.#post({ type: 'announce', text: vscode.l10n.t('Copied') });
      vscode.window.setStatusBarMessage(vscode.l10n.t('Copied'), 2_000);
    },
  };

  #session(): SetupSession {
    const session = this.#services.session(this.#target);
    if (session) return session;
    throw new UserError(vscode.l10n.t('There is no plan any more; plan again.'), [
      { title: vscode.l10n.t('Set Up Layer-7 LB'), command: 'milvusLayer7.setUp', arguments: [this.#target] },
    ]);
  }

  #snippet(id: string): string | undefined {
    return this.#state?.snippets?.items.find((item) => item.id === id)?.code;
  }

  #fix(id: string): string | undefined {
    if (id === probeFixId) return this.#state?.connection?.failure?.fix.copy;
    const rows = [...(this.#state?.findings.rows ?? []), ...(this.#state?.plan?.preflight ?? [])];
    return rows.find((row) => row.id === id)?.fix.copy;
  }
}
