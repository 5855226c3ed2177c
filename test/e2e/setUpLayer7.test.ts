/**
 * The main job in a real VS Code with the packaged extension, driven through the palette: every kind of certificate,
 * both modes of Milvus, three Milvus lines. After each the user's values are as they were but for the planned change,
 * and clients in Go, Python and Node read through Layer 7 what was written through Layer 4.
 */
import { readFileSync } from 'node:fs';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { control, ingressAddress, installRelease, userValues, type Release } from '../milvusRelease.ts';
import { environmentFor, settingsFor } from '../vscode/sandboxSettings.ts';
import { startVSCode, type VSCode } from '../vscode/server.ts';
import { startBrowser, Workbench } from '../vscode/workbench.ts';
import { authorityOfIngress, createTlsSecret, readWithClients } from './clients.ts';
import { testOutput } from '../paths.ts';
import { keepOnFailure, packagedExtension, sandbox } from './environment.ts';
import { filesHolding, secretsOf } from './secrets.ts';
import { answerQuestions, setupProven, StatusPanel, type Answer } from './setUp.ts';
import { withoutPlannedChange, type PlannedChange } from './plannedChange.ts';

interface Case extends PlannedChange {
  what: string;
  chartVersion: string;
  /** Milvus version of the image tag. */
  milvus: string;
  certificate: 'generate' | 'secret' | 'managed';
}

const cases: Case[] = [
  {
    what: 'generated certificate, cluster, Milvus 2.5.16',
    chartVersion: '4.2.58',
    milvus: '2.5.16',
    mode: 'cluster',
    certificate: 'generate',
    restart: 'proxies',
    closeLayer4: true,
  },
  {
    what: 'existing Secret, standalone, Milvus 2.4.6',
    chartVersion: '4.2.0',
    milvus: '2.4.6',
    mode: 'standalone',
    certificate: 'secret',
    restart: 'release',
    closeLayer4: false,
  },
  {
    what: 'Google-managed certificate, cluster, Milvus 2.6.15',
    chartVersion: '5.0.19',
    milvus: '2.6.15',
    mode: 'cluster',
    certificate: 'managed',
    restart: 'release',
    closeLayer4: true,
  },
  {
    what: 'generated certificate, standalone, Milvus 2.5.16 by image tag on a chart of 2.3',
    chartVersion: '4.1.34',
    milvus: '2.5.16',
    mode: 'standalone',
    certificate: 'generate',
    restart: 'release',
    closeLayer4: true,
  },
];

/** A values file as a team would write it, with comments and tuning of its own. */
function valuesFile({ mode, milvus }: Case): string {
  return `# Vectors for product search.
cluster:
  enabled: ${mode === 'cluster'}
image:
  all:
    tag: v${milvus}
service:
  type: LoadBalancer
  annotations:
    team.example/owner: search
${mode === 'cluster' ? 'proxy:\n  replicas: 2\n  extraEnv:' : 'standalone:\n  extraEnv:'}
    - name: TEAM
      value: search
extraConfigFiles:
  user.yaml: |
    # Tuned after the load test.
    proxy:
      maxNameLength: 128
    common:
      gracefulTime: 3000 # milliseconds
`;
}

const certificateRows = {
  generate: /generate now, ecdsa/i,
  secret: /a secret in the cluster/i,
  managed: /google-managed/i,
};

/** A release whose Layer 4 is closed has only rows that say nothing of it. */
function cutOverRow({ mode, restart, closeLayer4 }: Case): RegExp {
  const how = mode === 'standalone' ? 'Restart Milvus' : restart === 'proxies' ? 'Only the Proxies' : 'Whole Release';
  return new RegExp(`${how}(?![^]*${closeLayer4 ? 'keep Layer 4' : 'close Layer 4'})`);
}

describe.each(cases)('$what', (setup) => {
  const number = cases.indexOf(setup) + 1;
  const name = `search-${number}`;
  const namespace = `team-${number}`;
  const host = `${name}.milvus.example`;
  let release: Release;
  let vscode: VSCode;
  let browser: Browser;
  let workbench: Workbench;

  beforeAll(async () => {
    [release, vscode, browser] = await Promise.all([
      installRelease(sandbox.env, { name, namespace, chartVersion: setup.chartVersion, values: valuesFile(setup) }),
      startVSCode({
        extensions: [packagedExtension],
        env: environmentFor(sandbox.ready),
        settings: settingsFor(sandbox.ready),
      }),
      startBrowser(),
    ]);
    workbench = await Workbench.open(browser, vscode);
  });
  afterEach(async (context) => {
    await keepOnFailure(context, workbench, vscode);
  });
  afterAll(async () => {
    await browser.close();
    await vscode.stop();
  });

  /** The answers of a person to whatever is asked. */
  const answers: Answer[] = [
    { question: /: Release/, pick: new RegExp(name) },
    { question: /: Host Name/, pick: new RegExp(host), type: host },
    { question: /: Certificate/, pick: certificateRows[setup.certificate] },
    { question: /: Secret/, pick: /team-tls/ },
    { question: /: Address/, pick: /Ephemeral/ },
    { question: /: Cut-Over/, pick: cutOverRow(setup) },
  ];

  test('goes from the palette to a proven connection', async () => {
    const ownCa = setup.certificate === 'secret' ? await createTlsSecret(namespace, 'team-tls', host) : undefined;
    await workbench.run('Milvus: Set Up Layer-7 LB');
    await answerQuestions(workbench, answers);
    const panel = new StatusPanel(workbench);
    await panel.button('Apply').click();
    await workbench.dialog.getByRole('button', { name: 'Apply' }).click();
    const address = await ingressAddress(sandbox.env, namespace, host);
    // Google issues nothing before DNS leads to the load balancer, and the panel says so.
    if (setup.certificate === 'managed')
      await panel.text(/(Provisioning|FailedNotVisible) · mcrt-/).waitFor({ timeout: 60_000 });
    await control(sandbox.ready.control, 'PUT', `/dns/${host}`, { A: [address] });
    const text = await setupProven(panel, 240_000);

    expect(text.headline).toMatch(/^Works:/);
    expect(text.where).toContain(setup.milvus);
    expect(text.connection.stages.map(({ state }) => state)).toEqual(Array(6).fill('passed'));
    expect(text.connection.summary).toContain(`${release.entities} entities read from ${release.collection}`);

    const before = parse(release.values) as unknown;
    const after = await userValues(sandbox.env, release);
    expect(after).not.toEqual(before);
    expect(withoutPlannedChange(after, setup)).toEqual(before);

    const ca =
      setup.certificate === 'managed'
        ? readFileSync(sandbox.ready.publicCA, 'utf8')
        : (ownCa ?? (await authorityOfIngress(namespace, host)));
    expect(await readWithClients({ namespace, host, address, release, ca })).toEqual({
      go: release.entities,
      python: release.entities,
      node: release.entities,
    });
  });

  test('leaves no private key and no token in any file', async () => {
    const pieces = await secretsOf(namespace);
    expect(pieces.length).toBe(setup.certificate === 'managed' ? 1 : 3);
    expect(vscode.extensionLog()).toContain('Helm release');
    // VS Code's state, logs and workspace, and what this test run has written.
    expect(filesHolding([vscode.userData, vscode.workspace, testOutput], pieces)).toEqual([]);
  });

  test('plans nothing when it is run again', async () => {
    await workbench.run('Milvus: Set Up Layer-7 LB');
    await answerQuestions(workbench, answers);
    const panel = new StatusPanel(workbench);
    await panel.text(/nothing to do/i).waitFor();
    expect((await panel.read()).steps).toEqual([]);
  });
});
