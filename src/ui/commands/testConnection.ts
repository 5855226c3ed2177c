import * as vscode from 'vscode';
import type { ProbeReport, Target } from '../../core/model.ts';
import type { ProbeRequest } from '../../core/ports.ts';
import type { ReleaseMonitor, ReleaseView } from '../releaseMonitor.ts';
import { UserError } from '../runCommand.ts';
import type { Services } from '../services.ts';
import { targetKey } from '../targets.ts';
import { askText, back } from './quickSteps.ts';

type Credentials = NonNullable<ProbeRequest['credentials']>;

/**
 * Tests the connection to a release through its load balancer. Credentials are asked for only when Milvus itself asks
 * for them, and are kept in VS Code's secret storage.
 *
 * @throws UserError when there is no host name to test; vscode.CancellationError when the test was cancelled.
 */
export async function testConnection(services: Services, target: Target): Promise<ProbeReport> {
  const lease = await services.monitor(target);
  try {
    const view = await readyView(lease.value);
    const host = view.status?.host;
    if (host === undefined)
      throw new UserError(
        view.problem ??
          vscode.l10n.t('{0} is not behind Layer 7 yet, so there is no connection to test.', target.release),
        view.problem === undefined
          ? [{ title: vscode.l10n.t('Set Up Layer-7 LB'), command: 'milvusLayer7.setUp', arguments: [target] }]
          : [],
      );
    const request: ProbeRequest = {
      host,
      port: 443,
      readEntities: true,
      deadlineMs: services.settings.testDeadlineMs,
      ...(view.status?.address === undefined ? {} : { address: view.status.address }),
      ...(view.ca === undefined ? {} : { ca: view.ca }),
    };
    const known = await readCredentials(services, target);
    const report = await run(services, target, request, known);
    if (report.needsCredentials !== true) return report;
    const given = await askCredentials(target, known);
    if (!given) return report;
    const second = await run(services, target, request, given);
    if (second.passed) await services.secrets.store(secretKey(target), JSON.stringify(given));
    else if (known && second.needsCredentials === true) await services.secrets.delete(secretKey(target));
    return second;
  } finally {
    lease.dispose();
  }
}

async function run(
  services: Services,
  target: Target,
  request: ProbeRequest,
  credentials: Credentials | undefined,
): Promise<ProbeReport> {
  const prober = await services.prober();
  services.log.info(vscode.l10n.t('Testing the connection to {0} ({1})', request.host, target.release));
  const report = await services.probes.run(target, (onStage, signal) =>
    prober({ ...request, ...(credentials ? { credentials } : {}) }, onStage, signal),
  );
  for (const stage of report.stages)
    services.log.info(
      `  ${stage.id}: ${stage.state}${stage.ms === undefined ? '' : `, ${String(Math.round(stage.ms))} ms`}, ${stage.detail}`,
    );
  return report;
}

/** Waits for the first look at the release. */
async function readyView(monitor: ReleaseMonitor): Promise<ReleaseView> {
  if (monitor.view.ready) {
    // The certificate's CA may have been read only in part yet.
    await monitor.refresh();
    return monitor.view;
  }
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const subscription = monitor.onChange(() => {
    if (monitor.view.ready) resolve(undefined);
  });
  try {
    await promise;
    await monitor.refresh();
    return monitor.view;
  } finally {
    subscription.dispose();
  }
}

function secretKey(target: Target): string {
  return `credentials.${targetKey(target)}`;
}

async function readCredentials(services: Services, target: Target): Promise<Credentials | undefined> {
  const text = await services.secrets.get(secretKey(target));
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    if ('token' in value && typeof value.token === 'string') return { token: value.token };
    if (
      'username' in value &&
      'password' in value &&
      typeof value.username === 'string' &&
      typeof value.password === 'string'
    )
      return { username: value.username, password: value.password };
    return undefined;
  } catch {
    return undefined;
  }
}

/** Undefined when the user does not want to log in: the way to Milvus is proven without. */
async function askCredentials(target: Target, known: Credentials | undefined): Promise<Credentials | undefined> {
  const title = vscode.l10n.t('Test Connection: Log In to {0}', target.release);
  const required = (text: string): string | undefined =>
    text === '' ? vscode.l10n.t('Something must be entered here.') : undefined;
  const place = { title, totalSteps: 2, canGoBack: false };
  try {
    let username: string | typeof back = known && 'username' in known ? known.username : 'root';
    for (;;) {
      username = await askText({
        place: { ...place, step: 1 },
        prompt: vscode.l10n.t('Milvus was reached and asks for a log-in. User name:'),
        placeholder: 'root',
        value: username,
        check: required,
      });
      if (username === back) return undefined;
      const password = await askText({
        place: { ...place, step: 2, canGoBack: true },
        prompt: vscode.l10n.t('Password; kept in the secret storage of VS Code'),
        placeholder: '',
        value: '',
        check: required,
        password: true,
      });
      if (password !== back) return { username, password };
    }
  } catch (error) {
    if (error instanceof vscode.CancellationError) return undefined;
    throw error;
  }
}
