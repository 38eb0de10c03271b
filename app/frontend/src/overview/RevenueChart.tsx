import { Bar, BarChart, CartesianGrid, ResponsiveContainer, Tooltip, XAxis, YAxis } from 'recharts';
import type { RevenueMonth } from '../api/model';
import { formatMonthLong, formatMonthShort, plural } from '../lib/format';
import { formatCents, formatCentsCompact } from '../lib/money';
import styles from './RevenueChart.module.css';

interface TooltipBoxProps {
  active?: boolean;
  payload?: readonly { payload?: unknown }[];
}

function TooltipBox({ active, payload }: TooltipBoxProps) {
  const month = payload?.[0]?.payload as RevenueMonth | undefined;
  if (active !== true || month === undefined) return null;
  return (
    <div className={styles.tooltip}>
      <p>{formatMonthLong(month.month)}</p>
      <p className={styles.won}>{formatCents(month.won_cents)}</p>
      <p>
        {plural(month.won_count, 'deal')} won, {month.lost_count} lost
      </p>
    </div>
  );
}

const tick = { fill: 'var(--ink-soft)', fontSize: 12 };

/** The bars of `months`. It is hidden from assistive technology: Revenue has the same figures as a table. */
export default function RevenueChart({ months }: { months: RevenueMonth[] }) {
  return (
    <div className={styles.chart} aria-hidden="true">
      <ResponsiveContainer width="100%" height="100%" initialDimension={{ width: 520, height: 280 }}>
        <BarChart
          data={months}
          margin={{ top: 8, right: 0, bottom: 0, left: 0 }}
          barCategoryGap="24%"
          accessibilityLayer={false}
        >
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis
            dataKey="month"
            tickFormatter={formatMonthShort}
            tick={tick}
            tickLine={false}
            axisLine={{ stroke: 'var(--line)' }}
            tickMargin={8}
            minTickGap={10}
          />
          <YAxis
            tickFormatter={formatCentsCompact}
            tick={tick}
            tickLine={false}
            axisLine={false}
            tickCount={5}
            width={60}
          />
          <Tooltip content={TooltipBox} cursor={{ fill: 'var(--sunken)', stroke: 'none' }} isAnimationActive={false} />
          <Bar
            dataKey="won_cents"
            fill="var(--stage-won)"
            radius={[5, 5, 0, 0]}
            maxBarSize={44}
            animationDuration={500}
          />
        </BarChart>
      </ResponsiveContainer>
    </div>
  );
}
