/**
 * The product in a real VS Code on the sandbox: `npm run demo`, and unattended with the proof: `npm run demo -- --once`.
 * Installs and builds what is missing. Ctrl-C ends everything.
 */
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { answerQuestions, setupProven, StatusPanel } from './e2e/setUp.ts';
import { control, ingressAddress, installRelease, type Release } from './milvusRelease.ts';
import { packageExtension } from './package.ts';
import { repository } from './paths.ts';
import { endAll, endOnSignals, onEnd, startProcess } from './processes.ts';
import { buildSandbox, startSandbox, type Sandbox } from './sandboxProcess.ts';
import { installChromium, installVSCode } from './vscode/install.ts';
import { environmentFor, settingsFor } from './vscode/sandboxSettings.ts';
import { startVSCode, type VSCode } from './vscode/server.ts';
import { startBrowser, Workbench } from './vscode/workbench.ts';

const host = 'my-release.milvus.example';
const output = path.join(repository, 'demo-output');

/** The user's values of the demo's release: the setup must leave all of it as it is. */
const values = `# Vectors for product search.
cluster:
  enabled: true

service:
  type: LoadBalancer
  annotations:
    team.example/owner: search

proxy:
  replicas: 2

extraConfigFiles:
  user.yaml: |
    # Tuned after the load test.
    proxy:
      maxNameLength: 128
    common:
      gracefulTime: 3000   # milliseconds
`;

const started = Date.now();
let doing = 'starting';

function say(line: string): void {
  console.log(`${((Date.now() - started) / 1000).toFixed(1).padStart(6)} s  ${line}`);
}

/** Does one piece of work, telling what and how long. */
async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  doing = what;
  const begun = Date.now();
  say(`${what} …`);
  const result = await work();
  say(`${what}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
  return result;
}

const indented = (line: string): void => {
  // Lines of JSON come from the sandbox' database; they are in its log.
  if (line.trim() !== '' && !line.startsWith('{')) say(`  ${line}`);
};

async function start(): Promise<{ sandbox: Sandbox; release: Release; vscode: VSCode }> {
  const logs = path.join(output, 'logs');
  rmSync(output, { recursive: true, force: true });
  mkdirSync(logs, { recursive: true });
  await step('Install VS Code', async () => {
    await installVSCode(indented);
    if (once) await installChromium(indented);
  });
  const { file } = await step('Build and package the extension', () => packageExtension());
  await step('Build the sandbox', () => buildSandbox(indented));
  const sandbox = await step('Start the sandbox', () => startSandbox({ log: indented, keepLogsIn: logs }));
  const release = await step(
    'Install my-release (chart 4.2.58, two proxies) and write 1000 entities through Layer 4',
    () => installRelease(sandbox.env, { name: 'my-release', namespace: 'default', chartVersion: '4.2.58', values }),
  );
  const vscode = await step('Start VS Code with the packaged extension', () =>
    startVSCode({
      extensions: [file],
      env: environmentFor(sandbox.ready),
      settings: settingsFor(sandbox.ready),
      keepLogsIn: logs,
    }),
  );
  onEnd(() => vscode.stop());
  return { sandbox, release, vscode };
}

/** Sets the host name's A record, as its owner does at the DNS provider. */
async function setDns({ ready }: Sandbox, name: string, address: string): Promise<void> {
  await control(ready.control, 'PUT', `/dns/${name}`, { A: [address] });
}

/** The main job, driven through the palette to the proof. */
async function drive(sandbox: Sandbox, release: Release, vscode: VSCode): Promise<void> {
  const browser = await startBrowser();
  onEnd(() => browser.close());
  const workbench = await Workbench.open(browser, vscode);
  const shoot = async (name: string): Promise<void> => {
    await workbench.screenshot(path.join(output, `${name}.png`));
  };
  try {
    await step('Palette: Milvus: Set Up Layer-7 LB', () => workbench.run('Milvus: Set Up Layer-7 LB'));
    await step('Answer the questions', async () => {
      const asked = await answerQuestions(
        workbench,
        [
          { question: /: Release/, pick: /my-release/ },
          { question: /: Host Name/, type: host },
          { question: /: Certificate/, pick: /Generate Now, RSA/ },
          { question: /: Address/, pick: /Ephemeral/ },
          { question: /: Cut-Over/, pick: /Only the Proxies[^]*close Layer 4/ },
        ],
        async (number) => {
          await shoot(`1-question-${number}`);
        },
      );
      for (const question of asked) indented(question);
    });
    const panel = new StatusPanel(workbench);
    const apply = panel.button('Apply');
    await step('Plan', async () => {
      await apply.waitFor({ timeout: 60_000 });
      for (const { title } of (await panel.read()).steps) indented(title);
      await shoot('2-plan');
    });
    await step('Apply, confirmed in the dialog', async () => {
      await apply.click();
      await workbench.dialog.waitFor();
      await shoot('3-confirm');
      await workbench.dialog.getByRole('button', { name: 'Apply' }).click();
    });
    const address = await step('The load balancer gets its address', () =>
      ingressAddress(sandbox.env, release.namespace, host),
    );
    say(`  address ${address}`);
    await step(`DNS: ${host} A ${address}`, () => setDns(sandbox, host, address));
    const text = await step('Roll-out, cut-over and proof', () => {
      const states = new Map<string, string>();
      let shots = 0;
      let headline = '';
      return setupProven(panel, 5 * 60_000, async ({ headline: now, steps }) => {
        if (now !== headline) indented(now);
        headline = now;
        for (const { title, state } of steps) {
          if (states.get(title) !== state && state !== 'planned') indented(`${title}: ${state}`);
          states.set(title, state);
        }
        if (++shots === 3) await shoot('4-set-up');
      });
    });
    say(text.headline);
    for (const stage of text.stages) indented(stage.text);
    for (const stage of text.connection.stages) say(`Test: ${stage.title}`);
    say(`Connection ${text.connection.summary}`);
    say(text.where);
    await workbench.openContainer('Milvus Layer 7');
    await workbench.treeItem(/current/).click();
    await workbench.treeItem(/my-release/).waitFor();
    await panel.scrollTo('header');
    await shoot('5-works');
    await panel.scrollTo('ol.stages');
    await shoot('6-proof');
  } catch (error) {
    await shoot('failed').catch(() => undefined);
    throw error;
  }
}

/** Keeps everything running for a person; offers to set the DNS record when a load balancer gets its address. */
async function serve(sandbox: Sandbox, release: Release, vscode: VSCode): Promise<void> {
  console.log(`
VS Code:  ${vscode.url()}

To try
  1. F1, "Milvus: Set Up Layer-7 LB", release my-release, host name ${host}.
  2. Read the plan, Show Diff, Apply.
  3. When the load balancer has its address, press Enter here: that sets the DNS record, which elsewhere you do at your DNS provider.
  4. In the panel: Test Connection; the snippets connect from Python, Node, Go and Java.
  The collection "${release.collection}" holds ${release.entities} entities, written through Layer 4 at ${release.layer4}:19530.
  Terminal tools work on the same cluster: KUBECONFIG=${sandbox.ready.kubeconfig} PATH=${sandbox.ready.bin}:$PATH

Ctrl-C ends everything.
`);
  const offered = new Map<string, string>();
  const rest = { text: '' };
  startProcess(
    'kubectl',
    [
      ...['get', 'ingress', '--all-namespaces', '--watch', '-o'],
      'jsonpath={.spec.rules[0].host} {.status.loadBalancer.ingress[0].ip}{"\\n"}',
    ],
    {
      env: sandbox.env,
      onOutput: (text, stream) => {
        if (stream === 'stderr') return;
        const lines = (rest.text + text).split('\n');
        rest.text = lines.pop() ?? '';
        for (const line of lines) {
          const [name = '', address = ''] = line.split(' ');
          if (name === '' || address === '' || offered.get(name) === address) continue;
          offered.set(name, address);
          console.log(`The load balancer of ${name} has the address ${address}. Press Enter to set the DNS record.`);
        }
      },
    },
  );
  const lines = createInterface({ input: process.stdin });
  lines.on('line', () => {
    for (const [name, address] of offered)
      void setDns(sandbox, name, address).then(() => {
        console.log(`${name} A ${address}`);
      });
  });
  await new Promise(() => undefined);
}

const once = process.argv.includes('--once');
endOnSignals();
try {
  const { sandbox, release, vscode } = await start();
  if (once) {
    await drive(sandbox, release, vscode);
    say(`Done. Screenshots: ${path.relative(process.cwd(), output)}/`);
  } else await serve(sandbox, release, vscode);
} catch (error) {
  say(`Failed at: ${doing}`);
  console.log(error instanceof Error ? error.message : error);
  console.log(`Logs: ${path.relative(process.cwd(), path.join(output, 'logs'))}/`);
  process.exitCode = 1;
} finally {
  await endAll();
}
