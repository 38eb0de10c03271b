// Reads [{language, expression}] from stdin and says of each what its real parser says: where it does not understand
// it, which metrics (PromQL) or labels and fields (LogQL) it names. As JSON, in the same order.
import { readFileSync } from 'node:fs';
import { parser as logql } from '@grafana/lezer-logql';
import { parser as promql } from '@prometheus-io/lezer-promql';

const parsers = { promql, logql };

function inspect({ language, expression }) {
  const text = ({ from, to }) => expression.slice(from, to);
  const found = { errors: [], selectors: [], groupings: [], fields: [] };
  parsers[language].parse(expression).iterate({
    enter({ type, node }) {
      if (type.isError) {
        found.errors.push(`at ${node.from}: ${text({ from: node.from, to: node.to + 20 })}`);
      } else if (type.name === 'VectorSelector') {
        const matchers = node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? [];
        found.selectors.push({
          metric: text(node.getChild('Identifier')),
          labels: matchers.map((matcher) => text(matcher.firstChild)),
        });
      } else if (type.name === 'GroupingLabels') {
        found.groupings.push(...node.getChildren('LabelName').map(text));
      } else if (type.name === 'Selector') {
        const labels = [];
        node.cursor().iterate((inner) => {
          if (inner.type.name === 'Matcher') labels.push(text(inner.node.firstChild));
        });
        found.selectors.push({ metric: '', labels });
      } else if (type.name === 'LabelFilter' || type.name === 'UnwrapExpr' || type.name === 'Labels') {
        node.cursor().iterate((inner) => {
          if (inner.type.name === 'Identifier') found[type.name === 'Labels' ? 'groupings' : 'fields'].push(text(inner));
        });
      }
    },
  });
  return found;
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(inspect)));
