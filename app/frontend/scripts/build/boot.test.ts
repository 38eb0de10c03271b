import { expect, it } from 'vitest';
import { checkClasses } from './boot.ts';

const CSS = '.shell{margin:0}.link:hover{color:red}';

it.each(['', '<p>no class</p>', '<p class="">none</p>', '<p class="shell  link ">both</p>'])('takes %s', (markup) => {
  expect(() => {
    checkClasses(markup, CSS);
  }).not.toThrow();
});

it('names classes that no style sheet has, each once', () => {
  expect(() => {
    checkClasses('<p class="shell _a_1"><b class="_b_2">x</b><b class="_a_1">y</b></p>', CSS);
  }).toThrow('no style sheet has: _a_1, _b_2.');
});
