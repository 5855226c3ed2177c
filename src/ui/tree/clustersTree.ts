import * as vscode from 'vscode';
import type { MilvusRelease, Stage, Target } from '../../core/model.ts';
import { isCancellation, messageOf } from '../runCommand.ts';
import type { ReleaseMonitor } from '../releaseMonitor.ts';
import type { FoundReleases, Services } from '../services.ts';
import { prefix } from '../settings.ts';
import type { Lease } from '../sharing.ts';
import { systemClock } from '../systemClock.ts';
import { targetKey } from '../targets.ts';
import { contextNode, messageNode, releaseNode, stageNode, type NodeModel } from './treeModel.ts';

interface ContextNode {
  kind: 'context';
  name: string;
  current: boolean;
  server: string;
}
interface ReleaseNode {
  kind: 'release';
  context: string;
  target: Target;
  release: MilvusRelease;
}
interface StageNode {
  kind: 'stage';
  release: ReleaseNode;
  stage: Stage;
}
interface MessageNode {
  kind: 'message';
  model: NodeModel;
  /** Context that is read again by *Try Again*; absent for the whole kubeconfig. */
  context?: string;
  /** File and line to open. */
  file?: { path: string; line: number };
}
/** An element of the tree. */
export type TreeNode = ContextNode | ReleaseNode | StageNode | MessageNode;

/** What is known of one context. Nothing is, before it is expanded. */
interface ContextState {
  found?: FoundReleases;
  problem?: string;
  loading?: AbortController;
  /** Whether somebody sees its releases. */
  expanded: boolean;
  /** `undefined` while it is on its way. */
  monitors: Map<string, Lease<ReleaseMonitor> | undefined>;
  subscriptions: { dispose(): void }[];
}

/** A context that answers within this time shows no *Looking for Milvus* before. */
const quickMs = 200;
/** VS Code misses a change of a node that is told while it still takes in the node's children. */
const settleMs = 250;

/** Every context of the kubeconfig, the Milvus releases in it, and how far each one's load balancer is. */
export class ClustersTree implements vscode.TreeDataProvider<TreeNode>, vscode.Disposable {
  readonly #services: Services;
  readonly #view: vscode.TreeView<TreeNode>;
  readonly #changed = new vscode.EventEmitter<TreeNode | undefined>();
  readonly #subscriptions: { dispose(): unknown }[];
  readonly #contexts = new Map<string, ContextNode>();
  readonly #states = new Map<string, ContextState>();
  /** By target; kept so that a refresh names the same element. */
  readonly #releases = new Map<string, ReleaseNode>();
  /** How a release was shown last, to refresh only what has changed. */
  readonly #shown = new Map<string, string>();

  readonly onDidChangeTreeData = this.#changed.event;

  constructor(services: Services) {
    this.#services = services;
    this.#view = vscode.window.createTreeView('milvusLayer7.clusters', {
      treeDataProvider: this,
      showCollapseAll: true,
    });
    this.#subscriptions = [
      this.#view,
      this.#changed,
      this.#view.onDidChangeVisibility(() => {
        this.#syncAll();
      }),
      this.#view.onDidExpandElement(({ element }) => {
        this.#setExpanded(element, true);
      }),
      this.#view.onDidCollapseElement(({ element }) => {
        this.#setExpanded(element, false);
      }),
      services.onDidReload(() => {
        this.#reset();
      }),
      vscode.workspace.onDidGrantWorkspaceTrust(() => {
        this.#reset();
      }),
    ];
  }

  getTreeItem(node: TreeNode): vscode.TreeItem {
    const model = this.#model(node);
    const item = new vscode.TreeItem(
      model.label,
      model.expandable ? vscode.TreeItemCollapsibleState.Collapsed : vscode.TreeItemCollapsibleState.None,
    );
    item.id = model.id;
    item.description = model.description;
    item.tooltip = model.tooltip;
    item.contextValue = model.contextValue;
    item.iconPath = new vscode.ThemeIcon(
      model.icon.name,
      model.icon.color === undefined ? undefined : new vscode.ThemeColor(model.icon.color),
    );
    item.accessibilityInformation = { label: model.spoken, role: 'treeitem' };
    if (node.kind === 'message' && node.file)
      item.command = {
        command: 'vscode.open',
        title: vscode.l10n.t('Open'),
        arguments: [
          vscode.Uri.file(node.file.path),
          { selection: new vscode.Range(node.file.line, 0, node.file.line, 0) },
        ],
      };
    return item;
  }

  async getChildren(node?: TreeNode): Promise<TreeNode[]> {
    if (!node) return this.#roots();
    if (node.kind === 'context') return this.#releasesOf(node);
    if (node.kind === 'release') return this.#stagesOf(node);
    return [];
  }

  getParent(node: TreeNode): TreeNode | undefined {
    if (node.kind === 'release') return this.#contexts.get(node.context);
    if (node.kind === 'stage') return node.release;
    if (node.kind === 'message' && node.context !== undefined) return this.#contexts.get(node.context);
    return undefined;
  }

  /** Reads one context again, or everything. */
  retry(node: TreeNode | undefined): void {
    const name = node?.kind === 'context' ? node.name : node?.kind === 'message' ? node.context : undefined;
    const context = name === undefined ? undefined : this.#contexts.get(name);
    if (!context) {
      this.#services.reload();
      return;
    }
    this.#forget(context.name);
    this.#changed.fire(context);
  }

  dispose(): void {
    for (const name of this.#states.keys()) this.#forget(name);
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  #model(node: TreeNode): NodeModel {
    switch (node.kind) {
      case 'context': {
        const problem = this.#states.get(node.name)?.problem;
        return contextNode({ ...node, ...(problem === undefined ? {} : { problem }) });
      }
      case 'release':
        return releaseNode(node.target, node.release, this.#monitor(node)?.view ?? {});
      case 'stage':
        return stageNode(node.release.target, node.stage);
      case 'message':
        return node.model;
    }
  }

  async #roots(): Promise<TreeNode[]> {
    if (!vscode.workspace.isTrusted) return [];
    try {
      const { contexts, current, problems } = await this.#services.kubeconfig();
      const paths = await this.#services.kubeconfigPaths();
      this.#contexts.clear();
      for (const { name, server } of [...contexts].sort(
        (a, b) => Number(b.name === current) - Number(a.name === current),
      ))
        this.#contexts.set(name, { kind: 'context', name, server, current: name === current });
      const missing = (await this.#services.kubeconfig()).missing.length === paths.length;
      const empty = contexts.length > 0 || problems.length > 0 ? 'some' : missing ? 'none' : 'empty';
      void vscode.commands.executeCommand('setContext', `${prefix}.contexts`, empty);
      return [
        ...problems.map(({ file, line, message }, index): MessageNode => ({
          kind: 'message',
          model: messageNode(`kubeconfig/${String(index)}`, `${file}: ${message}`, 'problem', false),
          file: { path: file, line: (line ?? 1) - 1 },
        })),
        ...this.#contexts.values(),
      ];
    } catch (error) {
      return [{ kind: 'message', model: messageNode('kubeconfig', await messageOf(error), 'problem', true) }];
    }
  }

  async #releasesOf(node: ContextNode): Promise<TreeNode[]> {
    const state = this.#state(node.name);
    state.expanded = true;
    if (!state.found && state.problem === undefined)
      await Promise.race([this.#load(node, state), systemClock.sleep(quickMs)]);
    const { found, problem } = state;
    const message = (text: string, kind: 'info' | 'problem', retry: boolean): MessageNode => ({
      kind: 'message',
      model: messageNode(`${node.name}/${kind}`, text, kind, retry),
      context: node.name,
    });
    if (problem !== undefined) return [message(problem, 'problem', true)];
    if (!found) return [message(vscode.l10n.t('Looking for Milvus …'), 'info', false)];
    if (found.releases.length === 0)
      return [
        message(
          found.onlyNamespace === undefined
            ? vscode.l10n.t('No Milvus was found in this cluster.')
            : vscode.l10n.t(
                'No Milvus was found in namespace {0}. You may not list other namespaces.',
                found.onlyNamespace,
              ),
          'info',
          true,
        ),
      ];
    return found.releases.map((release) => {
      const target = { context: node.name, namespace: release.namespace, release: release.name };
      const key = targetKey(target);
      const known = this.#releases.get(key) ?? { kind: 'release', context: node.name, target, release };
      known.release = release;
      this.#releases.set(key, known);
      return known;
    });
  }

  #stagesOf(node: ReleaseNode): TreeNode[] {
    const stages = this.#monitor(node)?.view.status?.stages ?? [];
    return stages.map((stage) => ({ kind: 'stage', release: node, stage }));
  }

  async #load(node: ContextNode, state: ContextState): Promise<void> {
    if (state.loading) return;
    const loading = new AbortController();
    state.loading = loading;
    try {
      state.found = await this.#services.findReleases(node.name, loading.signal);
    } catch (error) {
      if (isCancellation(error) || loading.signal.aborted) return;
      state.problem = await messageOf(error);
      this.#services.log.warn(`${node.name}: ${state.problem}`);
    } finally {
      delete state.loading;
    }
    if (this.#states.get(node.name) !== state) return;
    this.#sync(node.name, state);
    setTimeout(() => {
      if (this.#states.get(node.name) === state) this.#changed.fire(this.#contexts.get(node.name));
    }, settleMs);
  }

  #setExpanded(node: TreeNode, expanded: boolean): void {
    if (node.kind !== 'context') return;
    const state = this.#state(node.name);
    state.expanded = expanded;
    this.#sync(node.name, state);
  }

  #syncAll(): void {
    for (const [name, state] of this.#states) this.#sync(name, state);
  }

  /** Watches the releases of a context while they can be seen, and only then. */
  #sync(name: string, state: ContextState): void {
    if (!this.#view.visible || !state.expanded) {
      release(state);
      return;
    }
    for (const { namespace, name: releaseName } of state.found?.releases ?? []) {
      const target = { context: name, namespace, release: releaseName };
      if (!state.monitors.has(targetKey(target))) void this.#watch(target, state);
    }
  }

  async #watch(target: Target, state: ContextState): Promise<void> {
    const key = targetKey(target);
    const { monitors } = state;
    monitors.set(key, undefined);
    try {
      const lease = await this.#services.monitor(target);
      // Nobody looks any more.
      if (state.monitors !== monitors) {
        lease.dispose();
        return;
      }
      monitors.set(key, lease);
      state.subscriptions.push(
        lease.value.onChange(() => {
          this.#releaseChanged(key);
        }),
      );
      this.#releaseChanged(key);
    } catch (error) {
      monitors.delete(key);
      this.#services.log.warn(await messageOf(error));
    }
  }

  #releaseChanged(key: string): void {
    const node = this.#releases.get(key);
    if (!node) return;
    const shown = JSON.stringify([this.#model(node), this.#stagesOf(node).map((stage) => this.#model(stage))]);
    if (this.#shown.get(key) === shown) return;
    this.#shown.set(key, shown);
    this.#changed.fire(node);
  }

  #monitor(node: ReleaseNode): ReleaseMonitor | undefined {
    return this.#states.get(node.context)?.monitors.get(targetKey(node.target))?.value;
  }

  #state(name: string): ContextState {
    const state = this.#states.get(name) ?? { expanded: false, monitors: new Map(), subscriptions: [] };
    this.#states.set(name, state);
    return state;
  }

  #forget(name: string): void {
    const state = this.#states.get(name);
    if (!state) return;
    this.#states.delete(name);
    state.loading?.abort();
    release(state);
  }

  #reset(): void {
    for (const name of [...this.#states.keys()]) this.#forget(name);
    this.#releases.clear();
    this.#shown.clear();
    this.#changed.fire(undefined);
  }
}

function release(state: ContextState): void {
  for (const subscription of state.subscriptions) subscription.dispose();
  state.subscriptions = [];
  for (const lease of state.monitors.values()) lease?.dispose();
  state.monitors = new Map();
}
