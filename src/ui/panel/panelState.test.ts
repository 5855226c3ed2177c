import { describe, expect, it } from 'vitest';
import type { Finding, MilvusRelease, Plan, ProbeReport, Stage, Status, Step } from '../../core/model.ts';
import { announcements, panelState, type PanelInput, type TimeFormat } from './panelState.ts';
import { planned, withLog, withStep, type SetupProgress } from './setupProgress.ts';

const now = Date.parse('2026-03-01T09:20:00Z');
const time: TimeFormat = {
  clock: (at) => new Date(at).toISOString().slice(11, 19),
  exact: (at) => new Date(at).toISOString(),
};
const target = { context: 'gke_acme_us_vectors', namespace: 'default', release: 'my-release' };
const release: MilvusRelease = {
  namespace: 'default',
  name: 'my-release',
  installer: 'helm',
  mode: 'cluster',
  version: '2.5.16',
  service: { apiVersion: 'v1', kind: 'Service', metadata: { name: 'my-release-milvus', namespace: 'default' } },
  port: { name: 'milvus', number: 19530 },
  servers: [],
};

function stage(id: Stage['id'], state: Stage['state'], since?: string): Stage {
  return { id, title: id, state, evidence: `evidence of ${id}`, ...(since === undefined ? {} : { since }) };
}

function status(over: Partial<Status> = {}): Status {
  return { release: 'my-release', namespace: 'default', exposure: 'both', stages: [], findings: [], ...over };
}

function step(id: string, action: Step['action']): Step {
  return { id, title: `title of ${id}`, changes: 'c', interrupts: 'i', undo: 'u', action };
}

const ingress = step('ingress', { kind: 'apply', object: release.service });
const waitBackends = step('wait-backends', { kind: 'wait', for: 'backends' });
const steps = [ingress, waitBackends, step('prove', { kind: 'prove' })];
const intent: Plan['intent'] = {
  host: 'milvus.example.com',
  certificate: { kind: 'managed' },
  address: { kind: 'ephemeral' },
  restart: 'proxies',
  closeLayer4: false,
};
const finding: Finding = {
  rule: 'dns-wrong',
  severity: 'error',
  object: { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace: 'default', name: 'my-release' },
  path: 'spec.rules',
  message: 'The domain points elsewhere.',
  cause: 'The A record is old.',
  fix: { kind: 'dns', text: 'Set it.', record: { type: 'A', name: 'milvus.example.com', value: '34.1.2.3' } },
  docs: 'https://cloud.google.com/',
};

function input(over: Partial<PanelInput> = {}): PanelInput {
  return {
    target,
    release,
    status: status(),
    headline: { text: 'Works:', detail: '2 of 2', tone: 'ok' },
    unfinished: false,
    snippets: [{ id: 'python', title: 'Python', code: 'x' }],
    now,
    ...over,
  };
}

function setup(over: Partial<SetupProgress> = {}, plan: Partial<Plan> = {}): SetupProgress {
  return { ...planned({ intent, steps, preflight: [], ...plan }), ...over };
}

describe('panelState', () => {
  it('says where it is and what it says first', () => {
    const state = panelState(input(), time);
    expect(state.where).toBe('gke_acme_us_vectors / default · cluster · Milvus 2.5.16');
    expect(state.headline).toEqual({ text: 'Works:', detail: '2 of 2', tone: 'ok' });
  });

  it('shows why nothing can be shown', () => {
    const { release: _release, status: _status, headline: _headline, ...rest } = input();
    const state = panelState({ ...rest, problem: 'The API server cannot be reached.' }, time);
    expect(state.headline).toEqual({ text: 'The API server cannot be reached.', detail: '', tone: 'blocked' });
    expect(state.plan).toBeUndefined();
    expect(state.rollout).toBeUndefined();
  });

  it('counts stages that are asked for and tells waiting in minutes, the past in time of day, the long past in days', () => {
    const stages = [
      stage('healthCheck', 'done', '2026-03-01T09:12:04Z'),
      stage('certificate', 'running', '2026-03-01T09:16:00Z'),
      stage('address', 'done', '2026-02-20T09:00:00Z'),
      stage('dns', 'none'),
    ];
    const { rollout } = panelState(input({ status: status({ stages }) }), time);
    expect(rollout?.summary).toBe('2 of 3 · started 9 days ago');
    expect(rollout?.stages.map((row) => row.since)).toEqual(['09:12:04', '4 min', '9 days ago', '']);
    expect(rollout?.stages[0]?.sinceExact).toBe('2026-03-01T09:12:04.000Z');
    expect(rollout?.stages[1]?.stateText).toBe('under way');
  });

  it('gives findings a stable id, the object and what can be copied', () => {
    const { rows } = panelState(input({ status: status({ findings: [finding] }) }), time).findings;
    expect(rows[0]).toMatchObject({
      id: 'dns-wrong/Ingress/default/my-release/spec.rules',
      severityText: 'Error:',
      object: 'Ingress default/my-release · spec.rules',
      fix: { text: 'Set it.', copy: 'milvus.example.com. A 34.1.2.3' },
      docs: 'https://cloud.google.com/',
    });
  });

  it('drops documentation links that are not https', () => {
    const { rows } = panelState(
      input({ status: status({ findings: [{ ...finding, docs: 'command:workbench.action.quit' }] }) }),
      time,
    ).findings;
    expect(rows[0]?.docs).toBeUndefined();
  });

  it('offers the set-up where there is no Layer 7, and to resume one that was begun', () => {
    expect(panelState(input({ status: status({ exposure: 'layer4' }) }), time).plan?.action).toMatchObject({
      kind: 'setUp',
      label: 'Set Up Layer-7 LB',
    });
    expect(panelState(input({ unfinished: true }), time).plan?.action?.label).toBe('Resume Set-Up');
    expect(panelState(input(), time).plan).toBeUndefined();
  });

  it('offers diffs only for steps that change objects, and only before they are applied', () => {
    expect(panelState(input({ setup: setup() }), time).plan?.steps.map((row) => row.diff)).toEqual([
      true,
      false,
      false,
    ]);
    expect(panelState(input({ setup: setup({ phase: 'running' }) }), time).plan?.steps[0]?.diff).toBe(false);
  });

  it('forbids to apply while a preflight finding is an error, and says so', () => {
    const blocked = panelState(input({ setup: setup({}, { preflight: [finding] }) }), time).plan;
    expect(blocked?.action).toMatchObject({ kind: 'apply', enabled: false });
    expect(blocked?.action?.reason).not.toBe('');
    const warned = panelState(input({ setup: setup({}, { preflight: [{ ...finding, severity: 'warning' }] }) }), time);
    expect(warned.plan?.action).toMatchObject({ kind: 'apply', enabled: true });
  });

  it('has nothing to apply when the plan is empty', () => {
    const { plan } = panelState(input({ setup: setup({}, { steps: [] }) }), time);
    expect(plan?.action).toBeUndefined();
    expect(plan?.summary).toBe('Everything is as wanted; there is nothing to do.');
  });

  it('shows the running step in the headline, and what failed on the step', () => {
    const running = withStep(setup({ phase: 'running' }), waitBackends, { state: 'running' });
    const state = panelState(input({ setup: running }), time);
    expect(state.headline).toMatchObject({ text: 'Setting up, step 2 of 3:', detail: 'title of wait-backends' });
    expect(state.plan?.action).toMatchObject({ kind: 'cancel' });
    const failed = withStep({ ...running, phase: 'failed' }, waitBackends, { state: 'failed', error: 'no' });
    const after = panelState(input({ setup: failed }), time);
    expect(after.plan?.steps[1]).toMatchObject({ state: 'failed', error: 'no' });
    expect(after.plan?.action).toMatchObject({ kind: 'apply', label: 'Go On' });
  });

  it('says what is waited for while a setup runs, but calls nothing blocked that the setup may do itself', () => {
    const running = withStep(setup({ phase: 'running' }), waitBackends, { state: 'running' });
    const waiting = { text: 'Waiting for DNS:', detail: '4 min so far', tone: 'waiting' } as const;
    expect(panelState(input({ setup: running, headline: waiting }), time).headline).toEqual(waiting);
    const blocked = { text: 'Blocked:', detail: 'No pod is ready', tone: 'blocked' } as const;
    expect(panelState(input({ setup: running, headline: blocked }), time).headline.tone).toBe('waiting');
    const failed = { ...running, phase: 'failed' } as const;
    expect(panelState(input({ setup: failed, headline: blocked }), time).headline).toEqual(blocked);
  });

  it('writes the log with the time of day', () => {
    expect(panelState(input({ setup: withLog(setup(), now, 'Applied Ingress') }), time).log?.lines).toEqual([
      '09:20:00  Applied Ingress',
    ]);
  });

  const report: ProbeReport = {
    at: '2026-03-01T09:19:00Z',
    host: 'milvus.example.com',
    via: 'address',
    passed: false,
    stages: [
      { id: 'dns', state: 'passed', ms: 3, detail: '' },
      {
        id: 'tcp',
        state: 'failed',
        ms: 11,
        detail: 'refused',
        failure: { expected: 'e', actual: 'a', cause: 'c', fix: { kind: 'command', text: 't', command: 'dig' } },
      },
    ],
  };

  it('shows all six stages of the test and opens the one that failed', () => {
    const { connection } = panelState(input({ probe: { running: false, stages: [], report } }), time);
    expect(connection?.stages.map((row) => [row.id, row.detail])).toEqual([
      ['dns', '3 ms'],
      ['tcp', '11 ms · refused'],
      ['tls', 'not reached'],
      ['http2', 'not reached'],
      ['grpc', 'not reached'],
      ['milvus', 'not reached'],
    ]);
    expect(connection?.failure).toEqual({
      title: 'TCP failed',
      expected: 'e',
      actual: 'a',
      cause: 'c',
      fix: { text: 't', copy: 'dig' },
    });
    expect(connection?.testLabel).toBe('Test Connection');
  });

  it('shows the stages of the running test, not of the last one', () => {
    const { connection } = panelState(
      input({ probe: { running: true, stages: [{ id: 'dns', state: 'running', detail: '' }], report } }),
      time,
    );
    expect(connection?.failure).toBeUndefined();
    expect(connection?.stages[0]?.detail).toBe('testing …');
    expect(connection?.testLabel).toBe('Cancel Test');
  });
});

describe('announcements', () => {
  it('says state changes once, and nothing on the first snapshot', () => {
    const stages = (state: Stage['state']) => [stage('address', state)];
    const before = panelState(input({ status: status({ stages: stages('running') }) }), time);
    const after = panelState(input({ status: status({ stages: stages('done') }) }), time);
    expect(announcements(undefined, after)).toEqual([]);
    expect(announcements(before, after)).toEqual(['address: done']);
    expect(announcements(after, after)).toEqual([]);
  });

  it('does not say that time passes', () => {
    const stages = [stage('address', 'running', '2026-03-01T09:12:04Z')];
    const before = panelState(input({ status: status({ stages }) }), time);
    const after = panelState(input({ status: status({ stages }), now: now + 60_000 }), time);
    expect(after.rollout).not.toEqual(before.rollout);
    expect(announcements(before, after)).toEqual([]);
  });

  it('says the steps of a setup instead of the stages behind them', () => {
    const running = setup({ phase: 'running' });
    const before = panelState(input({ setup: running }), time);
    const after = panelState(
      input({
        setup: withStep(running, ingress, { state: 'done' }),
        status: status({ stages: [stage('address', 'done')] }),
      }),
      time,
    );
    expect(announcements(before, after)).toEqual(['title of ingress: done']);
  });
});
