/** An upstream that is waited for as long as a test lasts, however fast its clock runs: only a store may run into a limit. */
export const patient = {
  manifestWithin: '1d',
  validateWithin: '1d',
  blobWithin: '1d',
  limits: { queueFor: '1d' },
  timeouts: { connect: '1d', headers: '1d', idle: '1d' },
} as const;
