import * as l10n from '@vscode/l10n';
import { formatDuration } from '../../core/duration.ts';
import { probeStageIds } from '../../core/model.ts';
import type {
  Finding,
  Fix,
  MilvusRelease,
  ObjectRef,
  ProbeReport,
  ProbeStage,
  ProbeStageId,
  Stage,
  Status,
  Step,
  Target,
} from '../../core/model.ts';
import type {
  ConnectionView,
  FindingRow,
  PanelLabels,
  PanelState,
  PlanView,
  ProbeStageRow,
  Snippet,
  StageRow,
  StepRow,
  Tone,
} from '../../shared/protocol.ts';
import { stepProgress, type SetupProgress } from './setupProgress.ts';

/** What the product says about a release in one sentence; see `headline()` of the core. */
export interface Headline {
  text: string;
  detail: string;
  tone: Tone;
}

/** The connection test of a release: the one that runs, or the last one. */
export interface ProbeView {
  running: boolean;
  stages: readonly ProbeStage[];
  report?: ProbeReport;
}

/** Everything that decides what the panel shows. */
export interface PanelInput {
  target: Target;
  /** Absent while the cluster is read, and when it could not be. */
  release?: MilvusRelease;
  status?: Status;
  headline?: Headline;
  /** Localised: why there is nothing to show. */
  problem?: string;
  /** Localised: why what is shown may be out of date. */
  interruption?: string;
  setup?: SetupProgress;
  /** An unfinished setup was found in the cluster. */
  unfinished: boolean;
  probe?: ProbeView;
  snippets: readonly Snippet[];
  /** Milliseconds since the epoch. */
  now: number;
}

/** Writes a time for the people in front of the screen. `at` is in milliseconds since the epoch. */
export interface TimeFormat {
  /** Hour, minute and second. */
  clock(at: number): string;
  /** Date and time with the time zone. */
  exact(at: number): string;
}

/** Everything the panel shows, from everything that is known. Pure: equal input gives equal output. */
export function panelState(input: PanelInput, time: TimeFormat): PanelState {
  const { target, release, status, setup } = input;
  const plan = planView(input);
  const stages = status?.stages ?? [];
  const findings = status?.findings ?? [];
  const snippets = input.probe?.report?.passed === true || status?.exposure === 'layer7' || status?.exposure === 'both';
  return {
    title: target.release,
    where: whereText(target, release),
    headline: headlineOf(input),
    notice: input.interruption ?? '',
    ...(stages.length > 0 ? { rollout: rolloutView(stages, input.now, time) } : {}),
    ...(plan ? { plan } : {}),
    findings: { title: l10n.t('Findings'), rows: findings.map(findingRow) },
    ...(status && (status.host !== undefined || input.probe)
      ? {
          connection: {
            title: l10n.t('Connection'),
            testLabel: input.probe?.running === true ? l10n.t('Cancel Test') : l10n.t('Test Connection'),
            ...connectionView(input.probe, time),
          },
        }
      : {}),
    ...(snippets && input.snippets.length > 0
      ? { snippets: { title: l10n.t('Connect From'), items: [...input.snippets] } }
      : {}),
    ...(setup && setup.log.length > 0
      ? { log: { title: l10n.t('Log'), lines: setup.log.map(({ at, text }) => `${time.clock(at)}  ${text}`) } }
      : {}),
    labels: labels(),
  };
}

/** What changed between two snapshots, for the live region: states of stages, steps and the headline, nothing else. */
export function announcements(before: PanelState | undefined, after: PanelState): string[] {
  if (!before) return [];
  const said: string[] = [];
  const retold = before.headline.text !== after.headline.text && after.plan?.running !== true;
  if (before.headline.tone !== after.headline.tone || retold) said.push(after.headline.text);
  const changed = (
    old: readonly { id: string; state: string }[],
    rows: readonly { id: string; state: string; title: string; stateText: string }[],
  ): void => {
    const states = new Map(old.map((row) => [row.id, row.state]));
    for (const row of rows)
      if (states.has(row.id) && states.get(row.id) !== row.state) said.push(`${row.title}: ${row.stateText}`);
  };
  changed(before.plan?.steps ?? [], after.plan?.steps ?? []);
  if (!after.plan?.running) changed(before.rollout?.stages ?? [], after.rollout?.stages ?? []);
  if (before.connection?.running === true && after.connection?.running === false) said.push(after.connection.summary);
  return said;
}

function whereText(target: Target, release: MilvusRelease | undefined): string {
  const parts = [`${target.context} / ${target.namespace}`];
  if (release) {
    parts.push(modeText(release.mode));
    if (release.version !== undefined) parts.push(`Milvus ${release.version}`);
  }
  return parts.join(' · ');
}

/** Milvus' own words for its two modes. */
export function modeText(mode: MilvusRelease['mode']): string {
  return mode === 'cluster' ? l10n.t('cluster') : l10n.t('standalone');
}

function headlineOf({ problem, headline, setup }: PanelInput): PanelState['headline'] {
  if (problem !== undefined) return { text: problem, detail: '', tone: 'blocked' };
  // What is waited for says more than the step. What looks blocked may be the setup's own doing, such as pods that
  // restart: the setup ends by itself when it is not.
  if (setup?.phase === 'running' && headline?.tone !== 'waiting') {
    const { steps } = setup.plan;
    const index = steps.findIndex((step) => {
      const { state } = stepProgress(setup, step);
      return state === 'running' || state === 'planned';
    });
    const step = steps[index];
    if (step)
      return {
        text: l10n.t('Setting up, step {0} of {1}:', index + 1, steps.length),
        detail: step.title,
        tone: 'waiting',
      };
  }
  return headline ?? { text: l10n.t('Reading the cluster …'), detail: '', tone: 'neutral' };
}

function rolloutView(stages: readonly Stage[], now: number, time: TimeFormat): NonNullable<PanelState['rollout']> {
  const asked = stages.filter((stage) => stage.state !== 'none');
  const done = asked.filter((stage) => stage.state === 'done');
  const begun = stages.flatMap((stage) => (stage.since === undefined ? [] : [Date.parse(stage.since)]));
  const started = begun.length > 0 ? Math.min(...begun) : undefined;
  const count = l10n.t('{0} of {1}', done.length, asked.length);
  return {
    title: l10n.t('Roll-out'),
    summary: started === undefined ? count : `${count} · ${l10n.t('started {0}', sinceText(started, now, time))}`,
    stages: stages.map((stage) => stageRow(stage, now, time)),
  };
}

function stageRow(stage: Stage, now: number, time: TimeFormat): StageRow {
  const at = stage.since === undefined ? undefined : Date.parse(stage.since);
  const waits = stage.state === 'running' || stage.state === 'late';
  return {
    id: stage.id,
    title: stage.title,
    state: stage.state,
    stateText: stageStateText(stage.state),
    since: at === undefined ? '' : waits ? formatDuration(now - at) : sinceText(at, now, time),
    sinceExact: at === undefined ? '' : time.exact(at),
    evidence: stage.evidence,
    waitsFor: stage.waitsFor ?? '',
  };
}

const day = 24 * 60 * 60 * 1000;

/** The time of day for what happened lately, the age for what is long past. */
function sinceText(at: number, now: number, time: TimeFormat): string {
  return now - at < day ? time.clock(at) : l10n.t('{0} ago', formatDuration(now - at));
}

/** The word for a stage's state. */
export function stageStateText(state: Stage['state']): string {
  switch (state) {
    case 'done':
      return l10n.t('done');
    case 'running':
      return l10n.t('under way');
    case 'late':
      return l10n.t('late');
    case 'failed':
      return l10n.t('failed');
    case 'pending':
      return l10n.t('not yet');
    case 'none':
      return l10n.t('not asked for');
  }
}

function planView({ setup, unfinished, status, release }: PanelInput): PlanView | undefined {
  if (!setup) {
    if (!status || !release) return undefined;
    if (status.exposure === 'layer7' || status.exposure === 'both' ? !unfinished : false) return undefined;
    return {
      title: l10n.t('Set-up'),
      steps: [],
      preflight: [],
      summary: unfinished
        ? l10n.t('A set-up of this release was begun and is not finished.')
        : l10n.t('Five questions, then a plan to read. Nothing changes before you confirm it.'),
      running: false,
      action: {
        kind: 'setUp',
        label: unfinished ? l10n.t('Resume Set-Up') : l10n.t('Set Up Layer-7 LB'),
        enabled: true,
        reason: '',
      },
      exportable: false,
    };
  }
  const { plan, phase } = setup;
  const blocking = plan.preflight.filter((finding) => finding.severity === 'error');
  const action = planAction(setup, blocking.length);
  return {
    title: phase === 'planned' ? l10n.t('Plan') : l10n.t('Set-up'),
    steps: plan.steps.map((step, index) => stepRow(step, index, setup)),
    preflight: phase === 'done' ? [] : plan.preflight.map(findingRow),
    summary: planSummary(setup),
    running: phase === 'running',
    ...(action ? { action } : {}),
    exportable: phase !== 'running',
  };
}

function planAction({ phase, plan }: SetupProgress, blocking: number): PlanView['action'] {
  switch (phase) {
    case 'running':
      return { kind: 'cancel', label: l10n.t('Cancel'), enabled: true, reason: '' };
    case 'done':
      return undefined;
    case 'failed':
    case 'cancelled':
      return { kind: 'apply', label: l10n.t('Go On'), enabled: true, reason: '' };
    case 'planned':
      if (plan.steps.length === 0) return undefined;
      return {
        kind: 'apply',
        label: l10n.t('Apply'),
        enabled: blocking === 0,
        reason: blocking === 0 ? '' : l10n.t('Cannot be applied before the errors above are mended.'),
      };
  }
}

function planSummary(setup: SetupProgress): string {
  const { plan, phase } = setup;
  const total = plan.steps.length;
  const done = plan.steps.filter((step) => stepProgress(setup, step).state === 'done').length;
  switch (phase) {
    case 'planned':
      return total === 0
        ? l10n.t('Everything is as wanted; there is nothing to do.')
        : l10n.t('{0} steps for {1}. Nothing is written before you confirm.', total, plan.intent.host);
    case 'running':
      return l10n.t('{0} of {1} done', done, total);
    case 'done':
      return l10n.t('All {0} steps done', total);
    case 'failed':
      return l10n.t('Stopped after {0} of {1}. What was done stays; Go On plans again from there.', done, total);
    case 'cancelled':
      return l10n.t('Cancelled after {0} of {1}. What was done stays; Go On plans again from there.', done, total);
  }
}

function stepRow(step: Step, index: number, setup: SetupProgress): StepRow {
  const progress = stepProgress(setup, step);
  const shows = setup.phase === 'planned' && hasDiff(step);
  // To wait changes nothing; and once it runs, what was read before needs to be read again only where it is or failed.
  const told = setup.phase === 'planned' ? step.action.kind !== 'wait' : ['running', 'failed'].includes(progress.state);
  return {
    id: step.id,
    number: index + 1,
    title: step.title,
    changes: told ? step.changes : '',
    interrupts: told ? step.interrupts : '',
    undo: told ? step.undo : '',
    state: progress.state,
    stateText: stepStateText(progress.state),
    diff: shows,
    ...(progress.error === undefined ? {} : { error: progress.error }),
  };
}

/** Whether a step changes objects, so that a diff can be shown. */
export function hasDiff(step: Step): boolean {
  return step.action.kind === 'apply' || step.action.kind === 'helmUpgrade' || step.action.kind === 'patchMilvus';
}

function stepStateText(state: StepRow['state']): string {
  switch (state) {
    case 'planned':
      return l10n.t('planned');
    case 'running':
      return l10n.t('under way');
    case 'done':
      return l10n.t('done');
    case 'failed':
      return l10n.t('failed');
  }
}

function findingRow(finding: Finding): FindingRow {
  const object = [finding.object ? objectText(finding.object) : '', finding.path ?? ''].filter((part) => part !== '');
  return {
    id: findingId(finding),
    severity: finding.severity,
    severityText: severityText(finding.severity),
    message: finding.message,
    cause: finding.cause,
    object: object.join(' · '),
    fix: fixView(finding.fix),
    ...(finding.docs?.startsWith('https://') === true ? { docs: finding.docs } : {}),
  };
}

/** Stable over snapshots: the rule and the object it is about. */
export function findingId(finding: Finding): string {
  const { object } = finding;
  return [finding.rule, object?.kind, object?.namespace, object?.name, finding.path].filter(Boolean).join('/');
}

function severityText(severity: Finding['severity']): string {
  switch (severity) {
    case 'error':
      return l10n.t('Error:');
    case 'warning':
      return l10n.t('Warning:');
    case 'info':
      return l10n.t('Note:');
  }
}

/** `Ingress default/my-release`. */
export function objectText({ kind, namespace, name }: ObjectRef): string {
  return namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}

/** The text to read and, where there is something to run or to enter elsewhere, the text to copy. */
export function fixView(fix: Fix): { text: string; copy?: string } {
  switch (fix.kind) {
    case 'command':
      return { text: fix.text, copy: fix.command };
    case 'dns':
      return { text: fix.text, copy: `${fix.record.name}. ${fix.record.type} ${fix.record.value}` };
    case 'patch':
    case 'advice':
      return { text: fix.text };
  }
}

/** Id of the fix of a failed connection test, as `copy` messages name it. */
export const probeFixId = 'connection-test';

function connectionView(probe: ProbeView | undefined, time: TimeFormat): ConnectionView {
  const report = probe?.report;
  const running = probe?.running ?? false;
  const stages = running ? (probe?.stages ?? []) : (report?.stages ?? []);
  const failed = stages.find((stage) => stage.state === 'failed');
  return {
    summary: connectionSummary(running, report, time),
    stages: probe ? probeRows(stages, running) : [],
    ...(failed?.failure
      ? {
          failure: {
            title: l10n.t('{0} failed', probeStageTitle(failed.id)),
            expected: failed.failure.expected,
            actual: failed.failure.actual,
            cause: failed.failure.cause,
            fix: fixView(failed.failure.fix),
          },
        }
      : {}),
    running,
  };
}

function connectionSummary(running: boolean, report: ProbeReport | undefined, time: TimeFormat): string {
  if (running) return l10n.t('testing …');
  if (!report) return l10n.t('not tested yet');
  const parts = [
    report.via === 'address'
      ? l10n.t('tested {0} from this machine, through the address', time.clock(Date.parse(report.at)))
      : l10n.t('tested {0} from this machine, through a port-forward', time.clock(Date.parse(report.at))),
    report.passed ? l10n.t('passed') : l10n.t('failed'),
  ];
  if (report.entities)
    parts.push(l10n.t('{0} entities read from {1}', report.entities.count, report.entities.collection));
  return parts.join(' · ');
}

/** All stages of the test in their order; those that have not begun yet are shown too, so that nothing moves. */
function probeRows(stages: readonly ProbeStage[], running: boolean): ProbeStageRow[] {
  const known = new Map<ProbeStageId, ProbeStage>(stages.map((stage) => [stage.id, stage]));
  return probeStageIds.map((id) => {
    const stage = known.get(id);
    const state = stage?.state ?? 'skipped';
    return {
      id,
      title: probeStageTitle(id),
      state,
      stateText: stage ? probeStateText(stage.state) : running ? l10n.t('not yet') : l10n.t('not reached'),
      detail: stage ? probeDetail(stage) : running ? l10n.t('not yet') : l10n.t('not reached'),
    };
  });
}

function probeDetail(stage: ProbeStage): string {
  if (stage.state === 'running') return l10n.t('testing …');
  if (stage.state === 'skipped') return stage.detail === '' ? l10n.t('not reached') : stage.detail;
  return [stage.ms === undefined ? '' : formatDuration(stage.ms), stage.detail]
    .filter((part) => part !== '')
    .join(' · ');
}

/** Name of a stage of the connection test. */
export function probeStageTitle(id: ProbeStageId): string {
  return { dns: 'DNS', tcp: 'TCP', tls: 'TLS', http2: 'HTTP/2', grpc: 'gRPC', milvus: 'Milvus' }[id];
}

function probeStateText(state: ProbeStage['state']): string {
  switch (state) {
    case 'passed':
      return l10n.t('passed');
    case 'failed':
      return l10n.t('failed');
    case 'skipped':
      return l10n.t('not reached');
    case 'running':
      return l10n.t('under way');
  }
}

function labels(): PanelLabels {
  return {
    refresh: l10n.t('Refresh'),
    state: l10n.t('State'),
    stage: l10n.t('Stage'),
    since: l10n.t('Since'),
    evidence: l10n.t('Evidence'),
    changes: l10n.t('Changes'),
    interrupts: l10n.t('Interrupts'),
    undo: l10n.t('Undo'),
    showDiff: l10n.t('Show Diff'),
    exportManifests: l10n.t('Export Manifests'),
    copy: l10n.t('Copy'),
    why: l10n.t('Why'),
    expected: l10n.t('Expected'),
    actual: l10n.t('Found'),
    fix: l10n.t('Fix'),
    working: l10n.t('Working'),
  };
}
