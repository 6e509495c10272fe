/** The server refused, and said why (RFC 9457). */
export class AssayProblem extends Error {
  readonly status: number;
  /** Last part of the problem's type, e.g. `not-found`. */
  readonly code: string;
  readonly members: ProblemOut;
}

/** A server, asked with a key. */
export class Assay {
  constructor(url: string, key: string, options?: { fetch?: typeof fetch });
  /** Until an analysis has ended; `seconds` bounds the wait, not the analysis. */
  wait(ident: string, options?: { seconds?: number; every?: number }): Promise<AnalysisOut>;
  // OPERATIONS
}
