import type { Plan, Step } from '../../core/model.ts';

/** How far one step of a running setup is. */
export interface StepProgress {
  state: 'planned' | 'running' | 'done' | 'failed';
  /** Localised: why it failed. */
  error?: string;
}

/**
 * A setup as the panel shows it. `planned` waits for the confirmation; `cancelled` and `failed` can be planned again.
 */
export interface SetupProgress {
  phase: 'planned' | 'running' | 'done' | 'failed' | 'cancelled';
  plan: Plan;
  steps: ReadonlyMap<string, StepProgress>;
  log: readonly { at: number; text: string }[];
}

/** A plan of which nothing has been done yet. */
export function planned(plan: Plan): SetupProgress {
  return { phase: 'planned', plan, steps: new Map(), log: [] };
}

/** Another plan for the same setup; what is known about the steps that both plans have is kept. */
export function withPlan(progress: SetupProgress, plan: Plan): SetupProgress {
  return { ...progress, plan };
}

/**
 * One step gets another state. A setup plans again after each step: a step that the shown plan does not have is put
 * after the ones that were done, and steps that were passed over hold already.
 */
export function withStep(progress: SetupProgress, step: Step, state: StepProgress): SetupProgress {
  const { plan } = progress;
  let at = plan.steps.findIndex((other) => other.id === step.id);
  let steps = plan.steps;
  if (at < 0) {
    at = plan.steps.findLastIndex((other) => stepProgress(progress, other).state !== 'planned') + 1;
    steps = [...plan.steps.slice(0, at), step, ...plan.steps.slice(at)];
  }
  const states = new Map(progress.steps).set(step.id, state);
  for (const passed of steps.slice(0, at))
    if ((states.get(passed.id)?.state ?? 'planned') === 'planned') states.set(passed.id, { state: 'done' });
  return { ...progress, plan: { ...plan, steps }, steps: states };
}

/** The setup came to its end: whatever was planned holds. */
export function finished(progress: SetupProgress): SetupProgress {
  return {
    ...progress,
    phase: 'done',
    steps: new Map(progress.plan.steps.map((step) => [step.id, { state: 'done' }])),
  };
}

/** The setup stopped; no step runs any more. */
export function stopped(progress: SetupProgress, phase: 'failed' | 'cancelled'): SetupProgress {
  const steps = new Map([...progress.steps].filter(([, step]) => step.state !== 'running'));
  return { ...progress, phase, steps };
}

/** Adds a line to the log. Lines are localised and hold no secrets. */
export function withLog(progress: SetupProgress, at: number, text: string): SetupProgress {
  return { ...progress, log: [...progress.log, { at, text }] };
}

/** The state of one step of the plan. */
export function stepProgress(progress: SetupProgress, step: Step): StepProgress {
  return progress.steps.get(step.id) ?? { state: 'planned' };
}
