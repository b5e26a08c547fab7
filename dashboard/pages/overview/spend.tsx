import { links } from '../../links.js';
import { DayBars } from '../../ui/bars.js';
import { Card } from '../../ui/card.js';
import { Loaded } from '../../ui/states.js';
import { dayOf, useSpendByDay } from './reads.js';

/** What the last eight days cost. */
export function Spend() {
  const spend = useSpendByDay();
  return (
    <Card
      title="Spent, 8 days"
      hint="US dollars of all attempts by the day, UTC, on which they ended; today is not over."
      actions={<a href={links.costs()}>Costs</a>}
    >
      <Loaded read={spend} rows={4}>
        {({ groups }) => (
          <DayBars
            days={groups}
            since={dayOf(Date.now() - 7 * 86_400_000)}
            hrefOf={(day) => links.costs({ since: day })}
          />
        )}
      </Loaded>
    </Card>
  );
}
