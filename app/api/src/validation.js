import Ajv from 'ajv';
import addFormats from 'ajv-formats';

// Query and path are text, so numbers in them are converted; a body says itself what is a number.
// Nothing is removed silently (Fastify's default): an unknown property is an error.
const options = { allErrors: true, useDefaults: true, removeAdditional: false };
const strict = addFormats(new Ajv({ ...options, coerceTypes: false }));
const converting = addFormats(new Ajv({ ...options, coerceTypes: true }));

export const validatorCompiler = ({ schema, httpPart }) =>
  (httpPart === 'body' ? strict : converting).compile(schema);

export const object = (properties, more = {}) => ({
  type: 'object',
  additionalProperties: false,
  properties,
  ...more,
});

/** One line of text with something in it. PostgreSQL cannot store NUL. */
export const text = (maxLength) => ({
  type: 'string',
  maxLength,
  allOf: [{ pattern: '\\S' }, { not: { pattern: '[\\u0000-\\u001f\\u007f]' } }],
});

export const id = { type: 'integer', minimum: 1, maximum: 2 ** 31 - 1 };
export const idParams = object({ id });
export const noQuery = object({});

export const pageQuery = {
  page: { type: 'integer', minimum: 1, maximum: 100_000, default: 1 },
  page_size: { type: 'integer', minimum: 1, maximum: 100, default: 20 },
};
