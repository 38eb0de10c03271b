import { STATUS_CODES } from 'node:http';

/** An error whose message is meant for the caller. */
export class ApiError extends Error {
  constructor(statusCode, code, message, { details, retryAfter, cause } = {}) {
    super(message, { cause });
    this.statusCode = statusCode;
    this.code = code;
    this.details = details;
    this.retryAfter = retryAfter;
  }
}

export const notFound = (what) => new ApiError(404, 'not_found', `${what} does not exist`);

/** Nothing was written; the same request may be sent again. */
export const databaseUnavailable = (cause) =>
  new ApiError(503, 'database_unavailable', 'the database does not answer; nothing was changed', {
    retryAfter: 2,
    cause,
  });

/** The connection was lost while COMMIT was under way. No Retry-After: a blind repeat could write twice. */
export const outcomeUnknown = (cause) =>
  new ApiError(503, 'outcome_unknown', 'the database was lost during the commit; look before you repeat', { cause });

const field = ({ instancePath, keyword, params }, part) => {
  const property = keyword === 'required' ? params.missingProperty : params.additionalProperty;
  return [part, ...instancePath.split('/').slice(1), property].filter(Boolean).join('.');
};

const reason = ({ keyword, message, params }) => {
  if (keyword === 'additionalProperties') return 'is not known here';
  if (keyword === 'enum') return `must be one of ${params.allowedValues.join(', ')}`;
  // The only pattern and the only `not` of the schemas: see text() in validation.js.
  if (keyword === 'pattern') return 'must not be blank';
  if (keyword === 'not') return 'must not contain control characters';
  return message;
};

// SQLSTATE classes that say that the values were wrong, not the program (PostgreSQL manual, appendix A).
const isDataError = ({ code }) => typeof code === 'string' && /^(22...|23514)$/.test(code);

/** The response for an error: never more than the caller may know. */
export function describeError(error) {
  if (error.validation) {
    const details = error.validation.map((one) => ({
      field: field(one, error.validationContext),
      message: reason(one),
    }));
    const message = details.map((one) => `${one.field} ${one.message}`).join('; ');
    return { statusCode: 400, body: { error: { code: 'validation_failed', message, details } } };
  }
  if (error instanceof ApiError) {
    const { statusCode, code, message, details, retryAfter } = error;
    return { statusCode, retryAfter, body: { error: { code, message, details } } };
  }
  if (isDataError(error)) {
    return { statusCode: 400, body: { error: { code: 'invalid_value', message: 'the database refused a value' } } };
  }
  if (error.statusCode >= 400 && error.statusCode < 500) {
    const code = STATUS_CODES[error.statusCode].toLowerCase().replaceAll(/[^a-z]+/g, '_');
    return { statusCode: error.statusCode, body: { error: { code, message: error.message } } };
  }
  return {
    statusCode: 500,
    body: { error: { code: 'internal_error', message: 'unexpected error; the log has it under X-Request-Id' } },
  };
}
