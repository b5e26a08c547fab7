import { useState } from 'preact/hooks';
import type { ComponentChildren } from 'preact';
import { dataOf } from '../api/client.js';
import { queryClient } from '../api/query.js';
import { Button } from './button.js';
import { Dialog } from './dialog.js';
import { Failed, Skeleton } from './states.js';
import { Text } from './text.js';

type Call<Data> = () => Promise<{ data?: Data; error?: unknown; response: Response }>;

export interface ActProps<Data> {
  /** On the button, and the title of the dialog: a verb. */
  label: string;
  kind?: 'plain' | 'danger';
  disabled?: boolean;
  /** Whether there is anything to do; where there no longer is, what was done stays until its dialog is closed. */
  offered?: boolean;
  /** Why it cannot be done now; disables the button and says so. */
  reason?: string | null;
  /** What it does, in a sentence or two. */
  what: ComponentChildren;
  /** Says what would be done, and does nothing; shown before `call` can be made. */
  dryRun?: Call<Data>;
  call: Call<Data>;
  /** What a dry run or the call has returned, as a person reads it. */
  show: (data: Data, isDone: boolean) => ComponentChildren;
}

/** A button for what changes something: a dialog says what it does, by a dry run where there is one, and then does it once. */
export function Act<Data>({
  label,
  kind = 'plain',
  disabled = false,
  offered = true,
  reason = null,
  what,
  dryRun,
  call,
  show,
}: ActProps<Data>) {
  const [isOpen, setOpen] = useState(false);
  const [planned, setPlanned] = useState<Data | null>(null);
  const [done, setDone] = useState<Data | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);

  const run = async (one: Call<Data>, keep: (data: Data) => void) => {
    setBusy(true);
    setError(null);
    try {
      keep(await dataOf(one()));
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  const open = () => {
    setOpen(true);
    setPlanned(null);
    setDone(null);
    setError(null);
    if (dryRun) void run(dryRun, setPlanned);
  };
  const confirm = () =>
    void run(call, (data) => {
      setDone(data);
      void queryClient.invalidateQueries();
    });
  if (!offered && !isOpen) return null;
  const mayConfirm = !isBusy && done === null && (dryRun === undefined || planned !== null);
  return (
    <>
      <span title={reason ?? undefined}>
        <Button kind={kind} disabled={disabled || reason !== null} onClick={open}>
          {label}
          {reason !== null && (
            <span class="said">
              , not now: <Text text={reason} />
            </span>
          )}
        </Button>
      </span>
      {isOpen && (
        <Dialog
          title={label}
          onClose={() => setOpen(false)}
          actions={
            <>
              <Button onClick={() => setOpen(false)}>{done === null ? 'Back' : 'Close'}</Button>
              {done === null && (
                <Button
                  kind={kind === 'danger' ? 'danger' : 'primary'}
                  disabled={!mayConfirm}
                  onClick={confirm}
                >
                  {label}
                </Button>
              )}
            </>
          }
        >
          <p>{what}</p>
          {isBusy && <Skeleton rows={2} />}
          {error !== null && <Failed error={error} />}
          {planned !== null && done === null && <div>{show(planned, false)}</div>}
          {done !== null && <div role="status">{show(done, true)}</div>}
        </Dialog>
      )}
    </>
  );
}
