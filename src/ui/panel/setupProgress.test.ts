import { describe, expect, it } from 'vitest';
import type { Step } from '../../core/model.ts';
import { finished, planned, stepProgress, stopped, withStep } from './setupProgress.ts';

const step = (id: string): Step => ({
  id,
  title: id,
  changes: '',
  interrupts: '',
  undo: '',
  action: { kind: 'prove' },
});
const plan = (ids: string[]) =>
  planned({
    intent: {
      host: 'h',
      certificate: { kind: 'managed' },
      address: { kind: 'ephemeral' },
      restart: 'proxies',
      closeLayer4: false,
    },
    steps: ids.map(step),
    preflight: [],
  });
const states = (progress: ReturnType<typeof plan>) =>
  progress.plan.steps.map((each) => `${each.id} ${stepProgress(progress, each).state}`);

describe('withStep', () => {
  it('counts steps that were passed over as done: they hold already', () => {
    expect(states(withStep(plan(['a', 'b', 'c']), step('c'), { state: 'running' }))).toEqual([
      'a done',
      'b done',
      'c running',
    ]);
  });

  it('puts a step that was planned later after those that were done', () => {
    const begun = withStep(plan(['a', 'b']), step('a'), { state: 'done' });
    expect(states(withStep(begun, step('x'), { state: 'running' }))).toEqual(['a done', 'x running', 'b planned']);
  });

  it('does not hide what failed', () => {
    const failed = withStep(plan(['a', 'b']), step('a'), { state: 'failed', error: 'no' });
    expect(states(withStep(failed, step('b'), { state: 'running' }))).toEqual(['a failed', 'b running']);
  });
});

it('leaves no step running when a setup ends', () => {
  const running = withStep(plan(['a', 'b']), step('b'), { state: 'running' });
  expect(states(stopped(running, 'cancelled'))).toEqual(['a done', 'b planned']);
  expect(states(finished(running))).toEqual(['a done', 'b done']);
});
