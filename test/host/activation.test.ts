/** The extension in a real extension host: activation, contributions, settings. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import * as vscode from 'vscode';
import type { SandboxReady } from '../sandboxProcess.ts';

const sandbox = JSON.parse(process.env.SANDBOX ?? '') as SandboxReady;

describe('extension', () => {
  const extension = vscode.extensions.getExtension('milvus-layer7.milvus-layer7');

  before(async () => {
    assert.ok(extension, 'the extension is not installed');
    await extension.activate();
  });

  it('is active', () => {
    assert.equal(extension?.isActive, true);
  });

  it('registers every command it declares', async () => {
    const manifest = extension?.packageJSON as { contributes: { commands: { command: string }[] } };
    const declared = manifest.contributes.commands.map(({ command }) => command);
    assert.ok(declared.includes('milvusLayer7.setUp'));
    const registered = new Set(await vscode.commands.getCommands(true));
    assert.deepEqual(
      declared.filter((command) => !registered.has(command)),
      [],
    );
  });

  it('reads its settings', () => {
    const settings = vscode.workspace.getConfiguration('milvusLayer7');
    assert.deepEqual(settings.get('kubeconfig'), []);
    assert.deepEqual(settings.get('path'), [sandbox.bin]);
    assert.deepEqual(settings.get('dns.servers'), [sandbox.dns]);
    assert.equal(settings.get('test.deadline'), 30);
  });

  it('declares every setting with a default and a description', () => {
    const { contributes } = extension?.packageJSON as {
      contributes: {
        configuration: { properties: Record<string, { default?: unknown; markdownDescription?: string }> };
      };
    };
    for (const [name, setting] of Object.entries(contributes.configuration.properties)) {
      assert.notEqual(setting.default, undefined, `${name} has no default`);
      assert.ok(setting.markdownDescription, `${name} has no description`);
      assert.doesNotMatch(setting.markdownDescription, /^%/, `${name}'s description is not localised`);
    }
  });
});
