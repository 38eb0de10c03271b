import { NewDealButton } from '../deals/NewDealButton';
import { Page } from '../shell/Page';
import { LatestActivity } from './LatestActivity';
import { Pipeline } from './Pipeline';
import { Revenue } from './Revenue';
import { SummaryCards } from './SummaryCards';
import { WinRate } from './WinRate';
import styles from './OverviewPage.module.css';

export default function OverviewPage() {
  return (
    <Page title="Overview" actions={<NewDealButton />}>
      <SummaryCards />
      <div className={styles.panels}>
        <Pipeline />
        <Revenue />
        <WinRate />
        <LatestActivity />
      </div>
    </Page>
  );
}
