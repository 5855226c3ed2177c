import * as l10n from '@vscode/l10n';
import * as vscode from 'vscode';
import { chooseKubeconfig } from './ui/commands/chooseKubeconfig.ts';
import { chooseRelease } from './ui/commands/chooseRelease.ts';
import { askSetUp } from './ui/commands/setUpWizard.ts';
import { testConnection } from './ui/commands/testConnection.ts';
import { RedhatYamlSchemas } from './ui/editor/redhatYaml.ts';
import { StatusPanels } from './ui/panel/statusPanels.ts';
import { createRunCommand } from './ui/runCommand.ts';
import { Services } from './ui/services.ts';
import { SetupStatusBar } from './ui/statusBar.ts';
import { ClustersTree, type TreeNode } from './ui/tree/clustersTree.ts';

/** Registers commands, view and panel. Contacts nothing, reads nothing and awaits nothing. */
export function activate(context: vscode.ExtensionContext): void {
  // One copy of the library serves all chunks, so the translations are given to it once.
  if (vscode.l10n.bundle) l10n.config({ contents: vscode.l10n.bundle });

  const log = vscode.window.createOutputChannel('Milvus Layer 7', { log: true });
  const services = new Services(log, context);
  const runCommand = createRunCommand(log);
  const panels = new StatusPanels(services, runCommand, context.extensionUri);
  const tree = new ClustersTree(services);
  const schemas = new RedhatYamlSchemas(log, context.extensionUri);
  context.subscriptions.push(log, services, panels, tree, new SetupStatusBar(services), schemas);

  const command = (id: string, run: (argument: unknown) => Promise<void> | void): void => {
    context.subscriptions.push(
      vscode.commands.registerCommand(`milvusLayer7.${id}`, (argument: unknown) => runCommand(id, () => run(argument))),
    );
  };

  command('setUp', async (argument) => {
    const { target, intent } = await askSetUp(services, argument);
    const title = vscode.l10n.t('Planning …');
    await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title }, () =>
      services.planSession(target, intent),
    );
    panels.open(target);
  });
  command('openStatus', async (argument) => {
    const title = vscode.l10n.t('Open Status');
    panels.open((await chooseRelease(services, argument, { title, totalSteps: 1 })).target);
  });
  command('testConnection', async (argument) => {
    const title = vscode.l10n.t('Test Connection');
    const { target } = await chooseRelease(services, argument, { title, totalSteps: 1 });
    panels.open(target);
    await testConnection(services, target);
  });
  command('refresh', () => {
    services.reload();
  });
  command('retry', (node) => {
    tree.retry(node as TreeNode | undefined);
  });
  command('showLog', () => {
    log.show();
  });
  command('chooseKubeconfig', chooseKubeconfig);
}
