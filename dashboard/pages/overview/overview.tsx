import { useLive } from '../../api/live.js';
import { Columns, Page, Stack } from '../../ui/page.js';
import { Attention } from './attention.js';
import { Numbers } from './numbers.js';
import { Queues } from './queues.js';
import { Recent } from './recent.js';
import { Running } from './running.js';
import { Spend } from './spend.js';
import { Waiting } from './waiting.js';
import { Workers } from './workers.js';

/** What an operator must see first: what fails or is stuck and why, then what runs. Each card is read and filled on its own. */
export default function Overview() {
  useLive({ all: true });
  return (
    <Page title="Overview" subtitle="What needs attention, then what runs, waits and costs; as it happens.">
      <Stack>
        <Numbers />
        <Attention />
        <Columns min={60}>
          <Running />
          <Columns min={30}>
            <Waiting />
            <Queues />
          </Columns>
        </Columns>
        <Columns min={60}>
          <Recent />
          <Columns min={30}>
            <Workers />
            <Spend />
          </Columns>
        </Columns>
      </Stack>
    </Page>
  );
}
