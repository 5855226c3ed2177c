/**
 * The messages between the extension and the panel's page. The extension sends one snapshot of everything the page
 * shows; the page sends what the user did. All text in a snapshot is localised and plain.
 */

/** One row of the roll-out. */
export interface StageRow {
  id: string;
  title: string;
  state: 'done' | 'running' | 'late' | 'failed' | 'pending' | 'none';
  /** State in words, for screen readers and for the tooltip. */
  stateText: string;
  /** Local time of day, or how long it has been waiting. */
  since: string;
  /** The exact time, for the tooltip. */
  sinceExact: string;
  evidence: string;
  waitsFor: string;
}

/** One finding, with what can be done about it here. */
export interface FindingRow {
  id: string;
  severity: 'error' | 'warning' | 'info';
  severityText: string;
  message: string;
  cause: string;
  object: string;
  fix: { text: string; copy?: string };
  docs?: string;
}

/** One step of the plan. `changes`, `interrupts` and `undo` are empty where there is nothing to say now. */
export interface StepRow {
  id: string;
  number: number;
  title: string;
  changes: string;
  interrupts: string;
  undo: string;
  state: 'planned' | 'running' | 'done' | 'failed';
  stateText: string;
  /** Present when a diff can be shown. */
  diff: boolean;
  /** Why it failed. */
  error?: string;
}

/** The plan, or the setup that carries it out. */
export interface PlanView {
  title: string;
  steps: StepRow[];
  preflight: FindingRow[];
  /** What happened or what is next, in a few words. */
  summary: string;
  running: boolean;
  /** What the primary button does now; absent when there is nothing to do. `reason` says why it is not enabled. */
  action?: { kind: 'apply' | 'cancel' | 'setUp'; label: string; enabled: boolean; reason: string };
  /** Whether there are objects to export. */
  exportable: boolean;
}

/** One stage of the connection test. */
export interface ProbeStageRow {
  id: string;
  title: string;
  state: 'passed' | 'failed' | 'skipped' | 'running';
  stateText: string;
  detail: string;
}

/** The last connection test, or the one that runs. */
export interface ConnectionView {
  /** Where and when it was tested, or that it was not yet. */
  summary: string;
  stages: ProbeStageRow[];
  failure?: { title: string; expected: string; actual: string; cause: string; fix: { text: string; copy?: string } };
  running: boolean;
}

/** A ready piece of client code. */
export interface Snippet {
  id: string;
  title: string;
  code: string;
}

/** How a headline is meant: it works, something is on its way, the user is needed, or nothing is to be said. */
export type Tone = 'ok' | 'waiting' | 'blocked' | 'neutral';

/** Words of the page that do not depend on the release. */
export interface PanelLabels {
  refresh: string;
  state: string;
  stage: string;
  since: string;
  evidence: string;
  changes: string;
  interrupts: string;
  undo: string;
  showDiff: string;
  exportManifests: string;
  copy: string;
  why: string;
  expected: string;
  actual: string;
  fix: string;
  working: string;
}

/** Everything the page shows. Absent parts are not shown. */
export interface PanelState {
  title: string;
  where: string;
  headline: { text: string; detail: string; tone: Tone };
  /** Why what is shown may be out of date; empty when it is not. */
  notice: string;
  rollout?: { title: string; summary: string; stages: StageRow[] };
  plan?: PlanView;
  findings: { title: string; rows: FindingRow[] };
  connection?: ConnectionView & { title: string; testLabel: string };
  snippets?: { title: string; items: Snippet[] };
  log?: { title: string; lines: string[] };
  labels: PanelLabels;
}

/** What the extension tells the page. */
export type ToPage = { type: 'snapshot'; state: PanelState } | { type: 'announce'; text: string };

/** What the user did on the page. */
export type FromPage =
  | { type: 'ready' }
  | { type: 'apply' }
  | { type: 'setUp' }
  | { type: 'cancel' }
  | { type: 'refresh' }
  | { type: 'testConnection' }
  | { type: 'showDiff'; step: string }
  | { type: 'exportManifests' }
  | { type: 'copy'; what: 'snippet' | 'fix'; id: string };

/** One handler for each message of the page: a missing one is a compile error. */
export type FromPageHandlers<Result = void> = {
  [T in FromPage['type']]: (message: Extract<FromPage, { type: T }>) => Result;
};

const withoutFields = new Set(['ready', 'apply', 'setUp', 'cancel', 'refresh', 'testConnection', 'exportManifests']);

/** Parses what arrived from the page; undefined when it is none of our messages. */
export function parseFromPage(value: unknown): FromPage | undefined {
  if (typeof value !== 'object' || value === null || !('type' in value) || typeof value.type !== 'string')
    return undefined;
  const { type } = value;
  if (withoutFields.has(type)) return { type } as FromPage;
  if (type === 'showDiff' && 'step' in value && typeof value.step === 'string') return { type, step: value.step };
  if (
    type === 'copy' &&
    'what' in value &&
    (value.what === 'snippet' || value.what === 'fix') &&
    'id' in value &&
    typeof value.id === 'string'
  )
    return { type, what: value.what, id: value.id };
  return undefined;
}

/** Parses what arrived from the extension; undefined when it is none of our messages. */
export function parseToPage(value: unknown): ToPage | undefined {
  if (typeof value !== 'object' || value === null || !('type' in value)) return undefined;
  if (value.type === 'announce' && 'text' in value && typeof value.text === 'string')
    return { type: 'announce', text: value.text };
  if (value.type === 'snapshot' && 'state' in value && typeof value.state === 'object' && value.state !== null)
    return value as ToPage;
  return undefined;
}
