import * as l10n from '@vscode/l10n';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** A duration for people: `850 ms`, `12 s`, `4 min`, `2 h`, `71 days`. `ms` is in milliseconds; negative counts as 0. */
export function formatDuration(ms: number): string {
  if (ms < second) return l10n.t('{0} ms', Math.max(0, Math.round(ms)));
  if (ms < 2 * minute) return l10n.t('{0} s', Math.round(ms / second));
  if (ms < 2 * hour) return l10n.t('{0} min', Math.round(ms / minute));
  if (ms < 2 * day) return l10n.t('{0} h', Math.round(ms / hour));
  return l10n.t('{0} days', Math.floor(ms / day));
}
